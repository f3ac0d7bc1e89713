#pragma once

#include <string>
#include <string_view>

#include "config/error.hpp"

namespace nanobox::cli {

/// One side of a copy, as it is written: a path here, `SANDBOX:/path`, or `-`.
struct CopyPlace {
  std::string sandbox_id;  ///< empty: here
  std::string path;        ///< absolute where it is inside
  bool is_stream() const { return sandbox_id.empty() && path == "-"; }
  bool is_inside() const { return !sandbox_id.empty(); }
  /// As a person would write it.
  std::string text() const { return is_inside() ? sandbox_id + ":" + path : path; }
};

/// What stands before the first ':' is a sandbox, unless a '/' or '.' comes before: "./a:b" is a file here. A path
/// inside without a slash is taken from the root. @errors invalid_value
Result<CopyPlace> read_place(std::string_view text);

/// The last part of a path, "" for "/", "." and what ends in "/.": "/a/b/" → "b".
std::string name_of(std::string_view path);

/// Whether the path asks for a folder's content instead of the folder: it is "." or ends in "/.".
bool means_content(std::string_view path);

/// "/a" and "b" → "/a/b".
std::string joined(std::string_view folder, std::string_view name);

/// An absolute path without "." and ".." in it; ".." of the root is the root.
std::string plain_path(std::string_view path);

}  // namespace nanobox::cli
