"""Denormal numbers, those so close to 0 that a float32 loses digits: below 2**-126."""

import ctypes
import platform

_FTZ_AND_DAZ = 0x8040  # of the register MXCSR: flush to zero, and denormals are zero


def flush_denormals():
    """Let this thread, and the threads that it makes from now on, take denormal numbers for 0.

    Many a CPU computes with them in microcode, far more slowly than with others. Does nothing
    elsewhere than on Linux on x86-64.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return
    libm = ctypes.CDLL("libm.so.6")
    environment = (ctypes.c_uint32 * 8)()  # fenv_t of fenv.h: MXCSR is the last of its words
    libm.fegetenv(environment)
    environment[7] |= _FTZ_AND_DAZ
    libm.fesetenv(environment)
