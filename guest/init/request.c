#include "request.h"

#include <stdlib.h>

#define ARGUMENTS_MAX 4096

bool request_read(struct tlv_reader reader, struct request* request) {
  struct tlv entry;
  int more;
  request->argv = calloc(ARGUMENTS_MAX + 1, sizeof *request->argv);
  if (!request->argv) return false;
  for (size_t i = 0; i < sandbox_environment.count; ++i)
    environment_set(&request->environment, sandbox_environment.entries[i]);
  while ((more = tlv_next(&reader, &entry)) > 0) {
    char* text = NULL;
    switch (entry.tag) {
      case NANOBOX_TAG_ARG:
        if (request->argc == ARGUMENTS_MAX || !(text = tlv_text(&entry))) return false;
        request->argv[request->argc++] = text;
        break;
      case NANOBOX_TAG_ENV:
        if (!(text = tlv_text(&entry))) return false;
        environment_set(&request->environment, text);
        free(text);
        break;
      case NANOBOX_TAG_CWD:
        free(request->cwd);
        if (!(request->cwd = tlv_text(&entry))) return false;
        break;
      case NANOBOX_TAG_USER:
        free(request->user);
        if (!(request->user = tlv_text(&entry))) return false;
        break;
      case NANOBOX_TAG_PROCESS_ID:
        if (request->process_id || entry.length == 0 || entry.length > NANOBOX_PROCESS_ID_MAX) return false;
        if (!(request->process_id = tlv_text(&entry))) return false;
        break;
      case NANOBOX_TAG_DETACHED:
        request->detached = true;
        break;
      case NANOBOX_TAG_COLUMNS:
        request->columns = (uint16_t)tlv_u32(&entry);
        break;
      case NANOBOX_TAG_ROWS:
        request->rows = (uint16_t)tlv_u32(&entry);
        break;
      case NANOBOX_TAG_DEADLINE_MS:
        request->deadline_ms = tlv_u64(&entry);
        break;
      default:
        break;
    }
  }
  return more == 0 && request->argc > 0 && request->argv[0][0];
}

void request_free(struct request* request) {
  for (size_t i = 0; i < request->argc; ++i) free(request->argv[i]);
  free(request->argv);
  free(request->cwd);
  free(request->user);
  free(request->process_id);
  environment_free(&request->environment);
}
