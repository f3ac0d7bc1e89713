#include "config/utf8.hpp"
#include "config/whole_number.hpp"
#include "http/audit.hpp"
#include "http/json/document.hpp"
#include "http/json/reader.hpp"
#include "http/json/text.hpp"
#include "http/json/writer.hpp"
#include "http/resources/api.hpp"
#include "http/resources/ask.hpp"
#include "http/resources/guest_answer.hpp"
#include "http/resources/guest_upload.hpp"
#include "pipeline/boot/channel/records.hpp"

namespace nanobox::http {

namespace {

constexpr std::string_view kFiles = "/api/v1/sandboxes/{id}/files";

std::string_view to_string(FileType type) {
  switch (type) {
    case FileType::file:
      return "file";
    case FileType::folder:
      return "dir";
    case FileType::symlink:
      return "symlink";
    case FileType::char_device:
      return "char";
    case FileType::block_device:
      return "block";
    case FileType::fifo:
      return "fifo";
    case FileType::socket:
      return "socket";
    case FileType::unknown:
      break;
  }
  return "unknown";
}

/// "0644"
std::string octal(std::uint32_t mode) {
  std::string text;
  for (int shift = 9; shift >= 0; shift -= 3) text += static_cast<char>('0' + (mode >> shift & 7));
  return text;
}

std::string mtime_of(const FileInfo& info) {
  return to_rfc3339(WallTime(std::chrono::milliseconds(info.mtime_ns / 1'000'000)));
}

Headers headers_of(const FileInfo& info) {
  Headers headers = {{"X-NanoBox-Type", std::string(to_string(info.type))},
                     {"X-NanoBox-Mode", octal(info.mode)},
                     {"X-NanoBox-Uid", std::to_string(info.uid)},
                     {"X-NanoBox-Gid", std::to_string(info.gid)},
                     {"X-NanoBox-Mtime", mtime_of(info)}};
  if (info.type == FileType::symlink) headers.emplace_back("X-NanoBox-Target", json::to_utf8(info.target));
  return headers;
}

/// A name or a link's target, which in a guest may be any bytes.
void write_bytes(json::Writer& json, std::string_view name, const std::string& bytes) {
  if (is_utf8(bytes)) {
    json.field(name, bytes);
  } else {
    json.field(name, json::to_base64(bytes)).field(std::string(name) + "_encoding", "base64");
  }
}

std::string to_json(const FileEntry& entry) {
  json::Writer json;
  json.begin_object();
  write_bytes(json, "name", entry.name);
  json.field("type", to_string(entry.info.type))
      .field("size_bytes", entry.info.size_bytes)
      .field("mode", octal(entry.info.mode))
      .field("uid", entry.info.uid)
      .field("gid", entry.info.gid)
      .field("mtime", mtime_of(entry.info));
  if (entry.info.type == FileType::symlink)
    write_bytes(json, "target", entry.info.target);
  else
    json.null_field("target");
  json.end_object();
  return json.take();
}

template <class Wanted>
Wanted with_file(const FileRequest& file) {
  Wanted wanted;
  static_cast<FileRequest&>(wanted) = file;
  return wanted;
}

/// A folder's entries, as JSON that is written while they come.
class Listing final : public StreamedAnswer {
public:
  using StreamedAnswer::StreamedAnswer;
  void on_data(StreamData& data) override {
    if (!has_begun()) begin_list();
    reader_.feed(data.bytes);
    std::string text;
    for (;;) {
      const auto record = reader_.next();
      if (!record) return on_failed(record.error());
      if (!*record) break;
      const auto entry = read_file_entry(**record);
      if (!entry) return on_failed(entry.error());
      if (std::exchange(any_, true)) text += ',';
      text += to_json(*entry);
    }
    write(text, data.bytes.size());
  }
  void on_exit(const StreamExit&) override {
    if (const auto whole = reader_.finish(); !whole) return on_failed(whole.error());
    if (!has_begun()) begin_list();
    write("],\"next_cursor\":null}", 0);
    end();
  }

private:
  void begin_list() {
    begin({.content_type = "application/json"});
    write("{\"items\":[", 0);
  }
  RecordReader reader_;
  bool any_ = false;
};

/// A file's bytes; of a folder its entries.
class FileDownload final : public StreamedAnswer {
public:
  FileDownload(Api& api, Responder responder, std::string sandbox_id, FileRequest file)
      : StreamedAnswer(std::move(responder)), api_(api), sandbox_id_(std::move(sandbox_id)), file_(std::move(file)) {}

  void on_opened(const Opened& opened) override {
    const auto info = opened.file.value_or(FileInfo{});
    StreamHead head{.headers = headers_of(info)};
    // Files of /proc have no size and bytes all the same.
    if (info.size_bytes > 0) left_ = head.content_length = info.size_bytes;
    begin(std::move(head));
  }
  void on_data(StreamData& data) override {
    auto bytes = data.text();
    // What was appended since its size was told is not part of the answer.
    if (left_) {
      bytes = bytes.substr(0, *left_);
      *left_ -= bytes.size();
    }
    if (has_begun()) write(bytes, data.bytes.size());
  }
  void on_exit(const StreamExit&) override {
    if (has_begun()) return end();
    on_failed({.code = ErrorCode::guest_protocol,
               .attempted = "read a file",
               .subject = file_.path,
               .reason = "the guest ended it before it began",
               .mend = ""});
  }
  void on_failed(const Error& error) override {
    if (has_begun() || error.code != ErrorCode::file_is_folder) return StreamedAnswer::on_failed(error);
    start_guest_client(api_, sandbox_id_, with_file<FileListRequest>(file_),
                       std::make_unique<Listing>(std::move(responder())));
    quit();
  }

private:
  Api& api_;
  const std::string sandbox_id_;
  const FileRequest file_;
  std::optional<std::uint64_t> left_;
};

class ArchiveDownload final : public StreamedAnswer {
public:
  using StreamedAnswer::StreamedAnswer;
  void on_data(StreamData& data) override {
    if (!has_begun()) begin({.content_type = "application/x-tar"});
    write(data.text(), data.bytes.size());
  }
  void on_exit(const StreamExit&) override {
    if (!has_begun()) begin({.content_type = "application/x-tar"});
    end();
  }
};

class FileStat final : public OneAnswer {
public:
  using OneAnswer::OneAnswer;
  void on_opened(const Opened& opened) override { info_ = opened.file.value_or(FileInfo{}); }
  void on_exit(const StreamExit&) override {
    StreamHead head{.headers = headers_of(info_)};
    if (info_.type == FileType::file) head.content_length = info_.size_bytes;
    responder().begin_stream(std::move(head)).end();
    quit();
  }

private:
  FileInfo info_;
};

/// Something without output: 204 when it is done.
class Done final : public OneAnswer {
public:
  using OneAnswer::OneAnswer;
  void on_exit(const StreamExit&) override {
    responder().send(204);
    quit();
  }
};

struct FileQuery {
  std::string sandbox_id;
  FileRequest file;
  bool archive = false;
};

/// A path in the guest, where `pointer` says.
Result<void> check_path(const std::string& path, const std::string& pointer) {
  auto fine = check_guest_path(path);
  if (!fine) fine.error().fields.push_back({.pointer = pointer, .detail = fine.error().reason});
  return fine;
}

Result<FileQuery> read_query(const Api& api, const Request& request, std::initializer_list<std::string_view> known) {
  NANOBOX_TRY(check_query(request, known));
  const auto sandbox = NANOBOX_TRY(running_sandbox_of(api, request));
  FileQuery query{.sandbox_id = sandbox->id, .file = {}, .archive = false};
  const auto path = request.query_parameter("path");
  if (!path)
    return fail(invalid_parameter("use a file", "?path", "is missing", "name an absolute path, ?path=/etc/hosts"));
  query.file.path = *path;
  query.file.user = request.query_parameter("user").value_or("");
  if (const auto archive = request.query_parameter("archive")) {
    if (*archive != "tar") return fail(invalid_parameter("use a file", "?archive", "must be tar", "use ?archive=tar"));
    query.archive = true;
  }
  NANOBOX_TRY(check_path(query.file.path, "?path"));
  return query;
}

void download(Api& api, const Request& request, Responder responder) {
  auto query = read_query(api, request, {"path", "user", "archive"});
  if (!query) return responder.send_problem(query.error());
  note_file(responder, query->archive ? "read_archive" : "read", query->file.path);
  if (query->archive)
    return start_guest_client(api, query->sandbox_id, with_file<ArchiveReadRequest>(query->file),
                              std::make_unique<ArchiveDownload>(std::move(responder)));
  FileReadRequest read{.path = query->file.path, .user = query->file.user};
  start_guest_client(
      api, query->sandbox_id, std::move(read),
      std::make_unique<FileDownload>(api, std::move(responder), query->sandbox_id, std::move(query->file)));
}

/// "0644"
Result<std::optional<std::uint32_t>> read_mode(const Request& request) {
  const auto text = request.query_parameter("mode");
  if (!text) return std::optional<std::uint32_t>();
  const auto mode = whole_number<std::uint32_t>(*text, 8);
  if (!mode || *mode > 07777)
    return fail(invalid_parameter("use a file", "?mode", "must be octal, at most 7777", "use ?mode=0644"));
  return mode;
}

void upload(Api& api, const Request& request, BodyReader body, Responder responder) {
  const auto query = read_query(api, request, {"path", "user", "mode", "archive"});
  if (!query) return responder.send_problem(query.error());
  const auto mode = read_mode(request);
  if (!mode) return responder.send_problem(mode.error());
  note_file(responder, query->archive ? "write_archive" : "write", query->file.path);
  StreamRequest wanted = with_file<ArchiveWriteRequest>(query->file);
  if (!query->archive) wanted = FileWriteRequest{.path = query->file.path, .user = query->file.user, .mode = *mode};
  start_guest_client(api, query->sandbox_id, std::move(wanted),
                     std::make_unique<GuestUpload>(std::move(responder), std::move(body)));
}

void remove(Api& api, const Request& request, Responder responder) {
  auto query = read_query(api, request, {"path", "user", "recursive"});
  if (!query) return responder.send_problem(query.error());
  note_file(responder, "delete", query->file.path);
  FileRemoveRequest wanted{.path = std::move(query->file.path),
                           .user = std::move(query->file.user),
                           .recursive = request.query_parameter("recursive") == "1"};
  start_guest_client(api, query->sandbox_id, std::move(wanted), std::make_unique<Done>(std::move(responder)));
}

/// `{"op":"mkdir"|"rename", …}`
Result<StreamRequest> read_operation(const Request& request) {
  const auto document = NANOBOX_TRY(json::parse_body(request));
  json::Complaints complaints;
  json::ObjectReader body(document, complaints);
  const auto op = body.choice("op", {"mkdir", "rename"}).value_or("");
  if (op.empty()) complaints.invalid("/op", "must be mkdir or rename");
  auto path = body.required_text("path");
  const auto to = body.text("to");
  auto user = body.text("user").value_or("");
  const bool parents = body.boolean("parents").value_or(false);
  if (op == "rename" && !to) complaints.invalid("/to", "is missing");
  if (op == "mkdir" && to) complaints.invalid("/to", "is for rename");
  body.finish();
  NANOBOX_TRY(complaints.result());
  NANOBOX_TRY(check_path(path, "/path"));
  if (op == "mkdir") return FolderMakeRequest{.path = std::move(path), .user = std::move(user), .parents = parents};
  NANOBOX_TRY(check_path(*to, "/to"));
  return FileRenameRequest{.path = std::move(path), .to = *to, .user = std::move(user), .parents = parents};
}

void note_operation(Responder& responder, const StreamRequest& wanted) {
  if (const auto* made = std::get_if<FolderMakeRequest>(&wanted)) note_file(responder, "mkdir", made->path);
  if (const auto* renamed = std::get_if<FileRenameRequest>(&wanted)) {
    note_file(responder, "rename", renamed->path);
    responder.note("to", renamed->to);
  }
}

void operate(Api& api, const Request& request, Responder responder) {
  if (auto known = check_query(request, {}); !known) return responder.send_problem(known.error());
  const auto sandbox = running_sandbox_of(api, request);
  if (!sandbox) return responder.send_problem(sandbox.error());
  auto wanted = read_operation(request);
  if (!wanted) return responder.send_problem(wanted.error());
  note_operation(responder, *wanted);
  start_guest_client(api, (*sandbox)->id, std::move(*wanted), std::make_unique<Done>(std::move(responder)));
}

}  // namespace

void add_file_routes(Router& router, Api& api) {
  router.add(Method::get, kFiles,
             [&api](const Request& request, Responder responder) { download(api, request, std::move(responder)); });
  router.add(Method::head, kFiles, [&api](const Request& request, Responder responder) {
    const auto query = read_query(api, request, {"path", "user"});
    if (!query) return responder.send_problem(query.error());
    note_file(responder, "stat", query->file.path);
    start_guest_client(api, query->sandbox_id, with_file<FileStatRequest>(query->file),
                       std::make_unique<FileStat>(std::move(responder)));
  });
  router.add_streaming(Method::put, kFiles, [&api](const Request& request, BodyReader body, Responder responder) {
    upload(api, request, std::move(body), std::move(responder));
  });
  router.add(Method::del, kFiles,
             [&api](const Request& request, Responder responder) { remove(api, request, std::move(responder)); });
  router.add(Method::post, kFiles,
             [&api](const Request& request, Responder responder) { operate(api, request, std::move(responder)); });
}

}  // namespace nanobox::http
