#pragma once

#include <memory>
#include <optional>
#include <utility>

namespace nanobox {

/// An optional value kept apart: where there mostly is none, its holder stays small. Copied with its holder.
template <class T>
class Boxed {
public:
  Boxed() = default;
  Boxed(T value) : value_(std::make_unique<T>(std::move(value))) {}
  Boxed(const std::optional<T>& value) : value_(value ? std::make_unique<T>(*value) : nullptr) {}
  Boxed(const Boxed& other) : value_(other ? std::make_unique<T>(*other) : nullptr) {}
  Boxed(Boxed&&) noexcept = default;
  Boxed& operator=(const Boxed& other) {
    value_ = other ? std::make_unique<T>(*other) : nullptr;
    return *this;
  }
  Boxed& operator=(Boxed&&) noexcept = default;
  ~Boxed() = default;

  explicit operator bool() const { return value_ != nullptr; }
  bool has_value() const { return value_ != nullptr; }
  const T& operator*() const { return *value_; }
  const T* operator->() const { return value_.get(); }
  T value_or(T otherwise) const { return value_ ? *value_ : std::move(otherwise); }
  operator std::optional<T>() const { return value_ ? std::optional<T>(*value_) : std::nullopt; }
  void reset() { value_.reset(); }
  T& emplace() {
    value_ = std::make_unique<T>();
    return *value_;
  }
  bool operator==(const Boxed& other) const {
    return value_ && other.value_ ? *value_ == *other.value_ : value_ == other.value_;
  }

private:
  std::unique_ptr<T> value_;
};

}  // namespace nanobox
