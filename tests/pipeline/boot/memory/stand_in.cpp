// Stands for a VMM: maps the memory file it is given, shared and writable as QEMU does, and answers each line of its
// input (map, look, "write PAGE") with one letter for each page.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <iostream>
#include <string>

int main(int count, char** arguments) {
  if (count != 2) return 2;
  char* memory = nullptr;
  std::size_t bytes = 0;
  for (std::string line; std::getline(std::cin, line);) {
    if (line == "map") {
      const int file = open(arguments[1], O_RDWR | O_CLOEXEC);
      struct stat status {};
      if (fstat(file, &status) != 0) return 1;
      bytes = static_cast<std::size_t>(status.st_size);
      // Between guards, as QEMU's.
      auto* reserved = static_cast<char*>(
          mmap(nullptr, bytes + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
      memory =
          static_cast<char*>(mmap(reserved + 4096, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0));
      if (memory == MAP_FAILED) return 1;
      close(file);
    } else if (line.starts_with("write ") && memory != nullptr) {
      std::memset(memory + std::stoul(line.substr(6)) * 4096, 'W', 4096);
    }
    std::string letters;
    for (std::size_t at = 0; at < bytes; at += 4096) {
      const bool same = std::memcmp(memory + at, memory + at + 1, 4095) == 0;
      letters += !same ? '?' : memory[at] == '\0' ? '.' : memory[at];
    }
    std::cout << letters << std::endl;
  }
}
