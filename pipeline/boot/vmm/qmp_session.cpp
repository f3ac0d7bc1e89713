#include "pipeline/boot/vmm/qmp_session.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <future>
#include <optional>

namespace nanobox {

namespace {

Error qmp_error(ErrorCode code, std::string_view command, std::string reason) {
  return {.code = code,
          .attempted = "command the VMM",
          .subject = std::string(command),
          .reason = std::move(reason),
          .mend = ""};
}

ssize_t send_with(int socket, std::string_view bytes, int attached) {
  iovec part{.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  if (attached >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    auto* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &attached, sizeof attached);
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace

QmpSession::QmpSession(std::shared_ptr<Poller> poller, UniqueFd socket, Event on_event)
    : poller_(std::move(poller)), socket_(std::move(socket)), on_event_(std::move(on_event)) {}

Result<std::shared_ptr<QmpSession>> QmpSession::open(std::shared_ptr<Poller> poller, UniqueFd socket, Event on_event) {
  std::shared_ptr<QmpSession> session(new QmpSession(std::move(poller), std::move(socket), std::move(on_event)));
  auto watch =
      NANOBOX_TRY(session->poller_->watch(session->socket_.get(), 0, [weak = session->weak_from_this()](auto events) {
        if (const auto self = weak.lock()) self->on_ready(events);
      }));
  {
    const std::lock_guard lock(session->mutex_);
    session->watch_ = std::move(watch);
    session->watch_.want(EPOLLIN);
  }
  session->execute("qmp_capabilities", "", std::chrono::minutes{1}, [](const auto&) {});
  return session;
}

QmpSession::~QmpSession() {
  close();
}

void QmpSession::execute(std::string_view command, std::string_view arguments, std::chrono::milliseconds deadline,
                         Reply reply, UniqueFd attached) {
  std::optional<Error> refused;
  {
    const std::lock_guard lock(mutex_);
    if (ended_) {
      refused = qmp_error(ErrorCode::guest_gone, command, "the VMM has closed its control socket");
    } else if (pending_.size() >= most_outstanding) {
      refused = qmp_error(ErrorCode::no_capacity, command, "too many commands wait for an answer");
    } else {
      const auto id = next_id_++;
      outgoing_.push_back({.bytes = qmp_command(command, arguments, id), .attached = std::move(attached)});
      pending_.emplace(id, Pending{.command = std::string(command),
                                   .reply = std::move(reply),
                                   .deadline = poller_->after(deadline, [weak = weak_from_this(), id] {
                                     if (const auto self = weak.lock()) self->expire(id);
                                   })});
      write_queued();
    }
  }
  if (refused) reply(fail(std::move(*refused)));
}

Result<std::string> QmpSession::call(std::string_view command, std::string_view arguments,
                                     std::chrono::milliseconds deadline, UniqueFd attached) {
  const auto promise = std::make_shared<std::promise<Result<std::string>>>();
  auto answer = promise->get_future();
  execute(
      command, arguments, deadline, [promise](Result<std::string> result) { promise->set_value(std::move(result)); },
      std::move(attached));
  return answer.get();
}

Result<void> QmpSession::call_all(std::vector<Call> calls, std::chrono::milliseconds deadline) {
  std::vector<std::future<Result<std::string>>> answers;
  for (auto& call : calls) {
    const auto promise = std::make_shared<std::promise<Result<std::string>>>();
    answers.push_back(promise->get_future());
    execute(
        call.command, call.arguments, deadline,
        [promise](Result<std::string> result) { promise->set_value(std::move(result)); }, std::move(call.attached));
  }
  std::optional<Error> failed;
  for (auto& answer : answers)
    if (auto result = answer.get(); !result && !failed) failed = std::move(result).error();
  if (failed) return fail(std::move(*failed));
  return {};
}

void QmpSession::on_ready(std::uint32_t events) {
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !read_some()) return;
  const std::lock_guard lock(mutex_);
  if ((events & EPOLLOUT) != 0) write_queued();
}

void QmpSession::drain() {
  while (read_some()) {
    std::byte probe{};
    if (recv(socket_.get(), &probe, 1, MSG_PEEK | MSG_DONTWAIT) <= 0) return;
  }
}

// False once the session has ended.
bool QmpSession::read_some() {
  std::array<std::byte, 16384> buffer;
  const auto count = recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  std::string reason = "the VMM closed its control socket";
  if (count > 0) {
    auto messages = reader_.read(std::span(buffer).first(static_cast<std::size_t>(count)));
    if (messages) {
      for (auto& message : *messages) handle(std::move(message));
      return true;
    }
    reason = messages.error().reason;
  }
  if (on_event_)
    on_event_(
        {.kind = QmpMessage::Kind::event, .id = 0, .name = std::string(closed_event), .body = "{}", .description = ""});
  fail_all(reason);
  return false;
}

void QmpSession::handle(QmpMessage message) {
  switch (message.kind) {
    case QmpMessage::Kind::greeting:
      return;
    case QmpMessage::Kind::event:
      if (on_event_) on_event_(message);
      return;
    case QmpMessage::Kind::reply:
    case QmpMessage::Kind::error: {
      auto pending = take(message.id);
      if (!pending.reply) return;
      if (message.kind == QmpMessage::Kind::reply)
        pending.reply(std::move(message.body));
      else
        pending.reply(fail(qmp_error(ErrorCode::vmm_failed, pending.command, message.description)));
    }
  }
}

// With the lock held.
void QmpSession::write_queued() {
  while (!outgoing_.empty()) {
    auto& next = outgoing_.front();
    const auto rest = std::string_view(next.bytes).substr(next.sent);
    const auto count = send_with(socket_.get(), rest, next.sent == 0 ? next.attached.get() : -1);
    if (count < 0) {
      if (errno == EINTR) continue;
      watch_.want(errno == EAGAIN ? EPOLLIN | EPOLLOUT : EPOLLIN);  // other errors: reading tells
      return;
    }
    next.sent += static_cast<std::size_t>(count);
    if (next.sent == next.bytes.size()) outgoing_.pop_front();
  }
  watch_.want(EPOLLIN);
}

QmpSession::Pending QmpSession::take(std::uint64_t id) {
  const std::lock_guard lock(mutex_);
  const auto found = pending_.find(id);
  if (found == pending_.end()) return {};
  auto pending = std::move(found->second);
  pending_.erase(found);
  return pending;
}

void QmpSession::expire(std::uint64_t id) {
  const auto pending = take(id);
  if (pending.reply)
    pending.reply(fail(qmp_error(ErrorCode::deadline_exceeded, pending.command, "the VMM did not answer in time")));
}

void QmpSession::fail_all(const std::string& reason) {
  std::map<std::uint64_t, Pending> pending;
  PollWatch watch;
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    pending.swap(pending_);
    watch = std::move(watch_);
    outgoing_.clear();
  }
  watch.reset();
  for (auto& [id, command] : pending) {
    command.deadline.reset();
    command.reply(fail(qmp_error(ErrorCode::guest_gone, command.command, reason)));
  }
}

void QmpSession::close() {
  fail_all("the daemon let go of the VM");
}

}  // namespace nanobox
