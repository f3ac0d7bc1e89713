#include "tools/nanobox/completion.hpp"

#include <algorithm>
#include <cctype>
#include <sstream>

namespace nanobox::cli {
namespace {

constexpr std::string_view kBash = R"(# bash completion of nanobox: the program itself says what may follow.
_nanobox() {
  local text
  COMPREPLY=()
  while IFS=$'\t' read -r text _; do
    COMPREPLY+=("$text")
  done < <("${COMP_WORDS[0]}" completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *: ]]; then compopt -o nospace; fi
}
complete -o default -F _nanobox nanobox
)";

constexpr std::string_view kZsh = R"(#compdef nanobox
# zsh completion of nanobox: the program itself says what may follow.
_nanobox() {
  local -a candidates
  local text help
  while IFS=$'\t' read -r text help; do
    candidates+=("${text//:/\\:}${help:+:$help}")
  done < <("${(Q)words[1]}" completion words -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)
  if (( $#candidates )); then
    _describe nanobox candidates
  else
    _files
  fi
}
if [[ $funcstack[1] == _nanobox ]]; then
  _nanobox "$@"
else
  compdef _nanobox nanobox
fi
)";

constexpr std::string_view kFish = R"fish(# fish completion of nanobox: the program itself says what may follow.
function __nanobox_complete
    set -l words (commandline --tokenize --cut-at-cursor --current-process)
    set -l current "$(commandline --cut-at-cursor --current-token)"
    set -l found ($words[1] completion words -- $words[2..-1] $current 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path $current
    end
end
complete --command nanobox --no-files --arguments '(__nanobox_complete)'
)fish";

/// A usage's words: "[show NAME | rm NAME…]" is {{"show", "NAME"}, {"rm", "NAME…"}}.
std::vector<std::vector<std::string>> alternatives(std::string_view usage) {
  std::vector<std::vector<std::string>> all(1);
  std::string plain;
  for (const char c : usage)
    if (c != '[' && c != ']') plain += c;
  std::istringstream words(plain);
  for (std::string word; words >> word;) {
    if (word == "|")
      all.emplace_back();
    else if (word != "--")
      all.back().push_back(word);
  }
  return all;
}

bool is_literal(std::string_view word) {
  return std::ranges::all_of(word, [](unsigned char c) { return std::islower(c) != 0 || c == '-'; });
}

/// What a usage's word in capitals, or an option's value, is the name of. Nothing: free text or a file.
std::optional<Named> named_by(std::string_view word, const CommandSpec& command) {
  if (word.ends_with("…")) word.remove_suffix(std::string_view("…").size());
  if (word == "SANDBOX") return Named::sandbox;
  if (word == "TEMPLATE") return Named::template_;
  if (word == "NAME" && command.name == "templates") return Named::template_;
  if (word == "ID") return command.name == "node" ? Named::node : Named::sandbox;
  return std::nullopt;
}

std::vector<Candidate> beginning_with(std::string_view begin, std::vector<Candidate> all) {
  std::erase_if(all, [&](const Candidate& each) { return !each.text.starts_with(begin); });
  return all;
}

/// The command line up to the word in question, read as parse_arguments reads it, but forgiving.
struct Context {
  std::vector<std::string> words;        ///< without options
  const Option* awaits_value = nullptr;  ///< the last word is the value of this
  bool options_ended = false;
};

Context read_context(const CommandSpec& command, const std::vector<std::string>& args) {
  Context context;
  for (const auto& word : args) {
    if (context.awaits_value != nullptr) {
      context.awaits_value = nullptr;
    } else if (context.options_ended || word.size() < 2 || word.front() != '-') {
      context.words.push_back(word);
      context.options_ended = context.options_ended || command.order == WordOrder::command_last;
    } else if (word == "--") {
      context.options_ended = true;
    } else {
      const auto option = std::ranges::find_if(command.options, [&](const Option& each) {
        return word.starts_with("--") ? word.substr(2) == each.name : each.letter != 0 && word.back() == each.letter;
      });
      if (option != command.options.end() && !option->value.empty()) context.awaits_value = &*option;
    }
  }
  return context;
}

std::vector<Candidate> command_names(const std::vector<CommandSpec>& commands) {
  std::vector<Candidate> names;
  for (const auto& command : commands) names.push_back({std::string(command.name), std::string(command.summary)});
  return names;
}

std::vector<Candidate> option_names(const CommandSpec& command) {
  std::vector<Candidate> names;
  for (const auto& option : command.options)
    names.push_back({"--" + std::string(option.name), std::string(option.help)});
  return names;
}

/// What a usage asks for behind `words`.
std::vector<Candidate> next_words(const CommandSpec& command, const std::vector<std::string>& words,
                                  const KnownNames& known) {
  std::vector<Candidate> candidates;
  for (const auto& expected : alternatives(command.usage)) {
    bool fits = true;
    for (std::size_t at = 0; at < std::min(words.size(), expected.size()); ++at)
      fits = fits && (!is_literal(expected[at]) || expected[at] == words[at]);
    if (!fits || expected.empty()) continue;
    const bool is_behind = words.size() >= expected.size();
    if (is_behind && !expected.back().ends_with("…")) continue;
    const auto& word = is_behind ? expected.back() : expected[words.size()];
    if (is_literal(word)) {
      candidates.push_back({word, ""});
    } else if (const auto kind = named_by(word, command)) {
      const auto names = known(*kind);
      candidates.insert(candidates.end(), names.begin(), names.end());
    }
  }
  return candidates;
}

}  // namespace

std::vector<Candidate> complete(const std::vector<CommandSpec>& commands, const std::vector<std::string>& words,
                                const KnownNames& known) {
  if (words.empty()) return {};
  const auto& current = words.back();
  if (words.size() == 1) {
    auto all = command_names(commands);
    all.push_back({"help", "teach a command"});
    if (current.starts_with("-"))
      all.insert(all.end(), {{"--help", "list the commands"}, {"--version", "its version"}});
    return beginning_with(current, std::move(all));
  }
  if (words.front() == "help")
    return words.size() == 2 ? beginning_with(current, command_names(commands)) : std::vector<Candidate>{};
  const auto command = std::ranges::find(commands, words.front(), &CommandSpec::name);
  if (command == commands.end()) return {};
  const auto context = read_context(*command, {words.begin() + 1, words.end() - 1});
  if (context.awaits_value != nullptr) {
    const bool is_template = context.awaits_value->name == "template";
    return is_template ? beginning_with(current, known(Named::template_)) : std::vector<Candidate>{};
  }
  if (!context.options_ended && current.starts_with("-")) return beginning_with(current, option_names(*command));
  // A path inside: SANDBOX:PATH.
  if (command->name == "cp" && current.starts_with("sb-") && current.find(':') == std::string::npos) {
    auto ids = beginning_with(current, known(Named::sandbox));
    for (auto& id : ids) id.text += ':';
    return ids;
  }
  return beginning_with(current, next_words(*command, context.words, known));
}

std::optional<std::string_view> completion_script(std::string_view shell) {
  if (shell == "bash") return kBash;
  if (shell == "zsh") return kZsh;
  if (shell == "fish") return kFish;
  return std::nullopt;
}

}  // namespace nanobox::cli
