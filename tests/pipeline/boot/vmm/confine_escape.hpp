#pragma once

/// Tries everything a program that took its VMM over might, and writes a line "name errno" for each (0: it worked).
/// @param arguments  process ids (numbers), host files (/…) and host sockets (@…, abstract) to try to reach
int try_to_escape(int report_fd, int count, char** arguments);
