/* Stands in PATH for QEMU. A probe goes on to the real one; started for a sandbox it never answers, or with -DDIES
 * ends. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (strcmp(argv[i], "-uuid") != 0) continue;
#ifdef DIES
    fprintf(stderr, "the stand-in does not want to start\n");
    return 3;
#endif
    for (;;) pause();
  }
  execv(REAL, argv);
  return 127;
}
