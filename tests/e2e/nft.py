"""What nft does, by its library: hosts that run NanoBox need not have the program."""
import ctypes

library = ctypes.CDLL("libnftables.so.1")
library.nft_ctx_new.restype = ctypes.c_void_p
library.nft_ctx_get_output_buffer.restype = library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
for each in ("buffer_output", "buffer_error", "get_output_buffer", "get_error_buffer", "free"):
    getattr(library, f"nft_ctx_{each}").argtypes = [ctypes.c_void_p]


def nft(command: str) -> str:
    """What the command prints, of this thread's network."""
    context = library.nft_ctx_new(0)
    try:
        library.nft_ctx_buffer_output(context)
        library.nft_ctx_buffer_error(context)
        if library.nft_run_cmd_from_buffer(context, command.encode()) != 0:
            raise OSError(f"nft {command}: {library.nft_ctx_get_error_buffer(context).decode()}")
        return library.nft_ctx_get_output_buffer(context).decode()
    finally:
        library.nft_ctx_free(context)


def tables() -> list[str]:
    """"table inet nanobox" and the like."""
    return nft("list tables").splitlines()
