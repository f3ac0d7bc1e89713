/* QEMU links against a disassembler of 8 MB for its debug log, whose tables the loader relocates: 1.4 MB of memory in
 * each VMM. This object has that library's name (CMakeLists.txt), so the loader, which has it already, loads no other.
 * Each call fails as in a build of the library without the processor asked for, which QEMU is prepared for. */
#include <stdbool.h>
#include <stddef.h>

enum { unknown_architecture = 2 }; /* CS_ERR_ARCH */

int cs_open(int architecture, int mode, size_t* handle) {
  (void)architecture, (void)mode;
  *handle = 0;
  return unknown_architecture;
}

int cs_close(size_t* handle) {
  *handle = 0;
  return 0;
}

int cs_option(size_t handle, int type, size_t value) {
  (void)handle, (void)type, (void)value;
  return unknown_architecture;
}

int cs_errno(size_t handle) {
  (void)handle;
  return unknown_architecture;
}

const char* cs_strerror(int code) {
  (void)code;
  return "there is no disassembler";
}

bool cs_support(int query) {
  (void)query;
  return false;
}

void* cs_malloc(size_t handle) {
  (void)handle;
  return NULL;
}

void cs_free(void* instructions, size_t count) {
  (void)instructions, (void)count;
}

size_t cs_disasm(size_t handle, const unsigned char* code, size_t size, unsigned long address, size_t count,
                 void** instructions) {
  (void)handle, (void)code, (void)size, (void)address, (void)count;
  *instructions = NULL;
  return 0;
}

bool cs_disasm_iter(size_t handle, const unsigned char** code, size_t* size, unsigned long* address,
                    void* instruction) {
  (void)handle, (void)code, (void)size, (void)address, (void)instruction;
  return false;
}
