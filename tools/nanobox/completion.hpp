#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/nanobox/command.hpp"

namespace nanobox::cli {

/// What may stand where the cursor is.
struct Candidate {
  std::string text;
  std::string help;  ///< one line; may be empty

  bool operator==(const Candidate&) const = default;
};

/// Things that only a server knows the names of.
enum class Named { sandbox, template_, node };

/// The names of a kind, for which the server is asked; empty where none answers.
using KnownNames = std::function<std::vector<Candidate>(Named)>;

/// What the last of `words` may become: a command, one of its options, the name of a thing that its usage asks for.
/// @param words  what follows "nanobox" on the command line, the last one perhaps empty
/// @returns nothing where a file's name or free text belongs
std::vector<Candidate> complete(const std::vector<CommandSpec>& commands, const std::vector<std::string>& words,
                                const KnownNames& known);

/// The script by which a shell asks `nanobox completion words`. Nothing: no such shell.
std::optional<std::string_view> completion_script(std::string_view shell);

}  // namespace nanobox::cli
