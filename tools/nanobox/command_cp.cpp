#include "tools/nanobox/command.hpp"
#include "tools/nanobox/copy.hpp"

namespace nanobox::cli {
namespace {

Result<int> run(Session& session) {
  const auto& args = session.arguments;
  const CopyCall call{.from = NANOBOX_TRY(read_place(args.words[0])),
                      .to = NANOBOX_TRY(read_place(args.words[1])),
                      .user = args.value("user").value_or(""),
                      .quiet = args.has("quiet")};
  const auto server = NANOBOX_TRY(session.server());
  NANOBOX_TRY(copy(server.address, session.interruption, call));
  return 0;
}

}  // namespace

CommandSpec cp_command_spec() {
  return {.name = "cp",
          .usage = "SOURCE TARGET",
          .summary = "copy files and folders into, out of and between sandboxes",
          .lesson =
              "Copies a file, or a folder with all in it. A path inside is SANDBOX:/path; '-' is stdin or stdout.\n\n"
              "  nanobox cp app.js sb-01jq…:/app/               into the folder /app\n"
              "  nanobox cp sb-01jq…:/var/log/app.log .         out\n"
              "  nanobox cp ./src sb-01jq…:/app                 /app/src, or /app where there is no /app yet\n"
              "  nanobox cp ./src/. sb-01jq…:/app               what is in src, into /app\n"
              "  nanobox cp sb-01jq…:/data sb-01jr…:/           from one sandbox to another\n"
              "  nanobox cp sb-01jq…:/etc/hosts - | wc -l       a file's bytes; of a folder a tar\n"
              "  tar c . | nanobox cp - sb-01jq…:/app/          a tar into a folder; else the bytes of a file\n\n"
              "Modes and, coming out, times are kept; what comes in belongs to root, or --user. Links in folders stay\n"
              "links, one named here is followed. Devices, pipes and set-id bits do not come out. A file or folder\n"
              "appears when all of it is there: a copy that fails or is interrupted leaves nothing. A file here with\n"
              "':' in its name is written ./a:b.",
          .options = with_server({{"user", 'u', "USER", "whose rights count inside, and who owns what comes in"},
                                  {"quiet", 'q', "", "no progress"}}),
          .least_words = 2,
          .most_words = 2,
          .run = run};
}

}  // namespace nanobox::cli
