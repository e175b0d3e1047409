"""Has a thread of another process make system calls, as somebody's code would that got into it: by ptrace(2), and for
x86-64 only."""

import ctypes
import errno
import os
import platform
import re
import signal
from pathlib import Path

from .runner import Skip
from .testbed import libc, wait_for

HERE = platform.machine() == "x86_64"

# linux/ptrace.h, linux/wait.h.
CONT, GETREGS, SETREGS, DETACH, SYSCALL, SEIZE, INTERRUPT = 7, 12, 13, 17, 24, 0x4206, 0x4207
TRACESYSGOOD, EXITKILL = 1, 1 << 20
EVENT_STOP = 128
WALL = 0x40000000
GETPID = 39
# How a stop at the beginning or the end of a system call is reported, and one that INTERRUPT has asked for.
CALL_STOP, INTERRUPT_STOP = signal.SIGTRAP | 0x80, signal.SIGTRAP | EVENT_STOP << 8
# What comes of an instruction that this kernel does not have.
FAULTS = (signal.SIGSEGV, signal.SIGILL, signal.SIGBUS)


class Entry:
    """An instruction that enters the kernel: its bytes, and the registers of the arguments."""

    def __init__(self, code, *arguments):
        self.code, self.arguments = code, arguments


NATIVE = Entry(b"\x0f\x05", "rdi", "rsi", "rdx", "r10", "r8", "r9")  # syscall
OF_32_BITS = Entry(b"\xcd\x80", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp")  # int 0x80: the calls' numbers are i386's


class Registers(ctypes.Structure):
    """user_regs_struct of sys/user.h."""

    _fields_ = [(name, ctypes.c_ulong) for name in (
        "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es "
        "fs gs").split()]


class Ended(Exception):
    """The process has ended in the call."""


class NoSuchEntry(Exception):
    """The instruction is one that this kernel does not have."""


class Held:
    """A thread that is held meanwhile, and goes on afterwards where it was. Should the one that holds it end before,
    the kernel kills the process."""

    def __init__(self, process, thread):
        self.process, self.thread = process, thread
        self.alive = True

    def __enter__(self):
        if not HERE:
            raise Skip(f"system calls are injected on x86-64 only, this is {platform.machine()}")
        try:
            self._trace(SEIZE, TRACESYSGOOD | EXITKILL)
        except OSError as error:
            if error.errno in (errno.EPERM, errno.ENOSYS):
                raise Skip(f"this machine lets no process be traced: {error}") from error
            raise
        self._trace(INTERRUPT)
        self._wait(INTERRUPT_STOP)
        self.before = self._registers()
        return self

    def __exit__(self, *_):
        if self.alive:
            # A call that was interrupted is begun again only from a stop of this kind.
            self._trace(INTERRUPT)
            self._trace(CONT)
            self._wait(INTERRUPT_STOP)
            self._set(self.before)
            self._trace(DETACH)

    def call(self, number, *arguments, entry=NATIVE):
        """What the kernel returns. An argument that is not given is -1: few calls have a use for that."""
        returned = self._make(number, arguments, entry)
        # A signal that ends it waits until it leaves the kernel, which another call has it do.
        assert self._make(GETPID, (), NATIVE) == self.process
        return returned

    def _make(self, number, arguments, entry):
        registers = Registers.from_buffer_copy(self.before)
        registers.rip = self._find(entry.code)
        registers.rax, registers.orig_rax = number, -1
        for index, name in enumerate(entry.arguments):
            setattr(registers, name, arguments[index] if index < len(arguments) else -1)
        self._set(registers)
        for _ in ("begins", "ends"):
            self._trace(SYSCALL)
            self._wait(CALL_STOP, registers.rip + len(entry.code))
        return ctypes.c_long(self._registers().rax).value

    def _find(self, code):
        """The address of these bytes where the process may execute them."""
        with open(f"/proc/{self.process}/mem", "rb", buffering=0) as memory:
            for line in Path(f"/proc/{self.process}/maps").read_text().splitlines():
                start, end, rights = re.match(r"(\w+)-(\w+) (\S+)", line).groups()
                if rights.startswith("r-x"):
                    memory.seek(int(start, 16))
                    offset = memory.read(int(end, 16) - int(start, 16)).find(code)
                    if offset >= 0:
                        return int(start, 16) + offset
        raise AssertionError(f"no mapping has {code.hex()}")

    def _wait(self, wanted, address=None):
        """Waits for such a stop, at this address if one is given. Signals that come in between are passed on."""
        while True:
            found = wait_for(self._change, pause=0.001)
            assert found, f"thread {self.thread} does not stop"
            if found.si_code in (os.CLD_EXITED, os.CLD_KILLED, os.CLD_DUMPED):
                self._buried()
                raise Ended(found.si_status)
            os.waitpid(self.thread, WALL)
            stop = found.si_status
            if stop == wanted and address in (None, self._registers().rip):
                return
            if stop in FAULTS:
                raise NoSuchEntry(signal.Signals(stop).name)
            self._trace(SYSCALL, stop if stop < EVENT_STOP else 0)

    def _change(self):
        """What has become of it, if anything has. The end of the process is left for the one that started it."""
        return os.waitid(os.P_PID, self.thread, os.WEXITED | os.WSTOPPED | os.WNOHANG | os.WNOWAIT)

    def _buried(self):
        self.alive = False
        if self.thread != self.process:
            os.waitpid(self.thread, WALL)

    def _registers(self):
        registers = Registers()
        self._trace(GETREGS, ctypes.addressof(registers))
        return registers

    def _set(self, registers):
        self._trace(SETREGS, ctypes.addressof(registers))

    def _trace(self, request, data=0):
        words = ctypes.c_long(request), ctypes.c_long(self.thread), ctypes.c_void_p(0), ctypes.c_void_p(data)
        if libc.ptrace(*words) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
