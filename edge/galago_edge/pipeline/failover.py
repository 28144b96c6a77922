"""The engine of a live stream: on an accelerator while that works, on the CPU otherwise.

The stream begins on the CPU at once. A thread beside it tries the accelerator, in a process of its own
(``galago_edge.engine.remote``): it must load, take the model, give the bundle's golden answers and be fast
enough; it takes over between two windows then. When it fails with a window, a new CPU interpreter decides
that same window, and the accelerator is tried again after a pause that doubles.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import GalagoError
from galago_edge.contract.profile import Accelerator
from galago_edge.contract.settings import AcceleratorSettings
from galago_edge.contract.status import BackendStatus
from galago_edge.contract.streams import NS_PER_S
from galago_edge.engine import AcceleratorError, BackendChange, Engine, Fault, RemoteEngine
from galago_edge.pipeline.parity import GoldenInput, Speed, check_answer, check_speed, check_tensors

PROBING = "probing"
"""Reason while the accelerator is tried for the first time."""
TIMED_WINDOWS = 64
"""Newest windows that the times in status are of."""
_FIRST_WINDOW_S = 2.0
"""Trying an accelerator waits so long for the first window: loading must not delay the first decision."""
_LONGEST_COOL_DOWN_S = 86_400.0
_HELD_NS = 86_400 * NS_PER_S
"""An accelerator that worked for so long has its earlier falls forgiven."""
_CLOSE_S = 10.0

_DETERMINED = frozenset({Fault.NOT_APPLIED, Fault.MODEL_MISMATCH, Fault.PARITY_FAILED})
"""Faults that the next attempt, a second later, would find again."""


@dataclass(frozen=True, slots=True)
class AcceleratedModel:
    """The accelerated form of a bundle's model, and what this device runs it with."""

    backend: str
    """Name in manifest and profile: ``edgetpu``."""
    model: bytes
    accelerator: Accelerator
    golden: Callable[[], Sequence[GoldenInput]]
    """Prepares the golden samples; called by the thread that tries the accelerator."""


@dataclass(frozen=True, slots=True)
class _Probed:
    """An accelerator that passed every check."""

    engine: RemoteEngine
    speed: Speed
    again: GoldenInput
    """What it is asked again from time to time."""


class FailoverEngine:
    """One model for one stream. Without an accelerated form it is the CPU's, timed.

    Used by the stream's thread; :meth:`status`, :meth:`busy_since_ns` and :meth:`close` by any.
    """

    def __init__(
        self,
        model: bytes,
        accelerated: AcceleratedModel | None = None,
        *,
        threads: int = 1,
        settings: AcceleratorSettings | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Load ``model`` on the CPU and let the accelerator be tried.

        Raises:
            BundleError: MODEL_BAD or TENSOR_MISMATCH; the CPU model.
            DeviceError: RUNTIME_MISSING or OP_UNSUPPORTED.
        """
        self._model, self._threads = model, threads
        self._accelerated = accelerated
        self._settings = settings or AcceleratorSettings()
        self._clock_ns = clock_ns
        self._cpu: Engine | None = Engine(model, threads=threads)
        self._probed: _Probed | None = None
        self.input, self.output = self._cpu.input, self._cpu.output
        self._reason: str | None = None if accelerated is None else PROBING
        self._writing = False
        self.observe: Callable[[npt.NDArray[Any], npt.NDArray[np.int8]], None] | None = None
        """Called after each run with a copy of the input tensor and of the logits, by the stream's thread."""
        self._busy_since_ns: int | None = None
        self._checked_ns = self._promoted_ns = 0
        # shared with the thread that tries, and with those that ask
        self._lock = threading.Lock()
        self._times_us: deque[int] = deque(maxlen=TIMED_WINDOWS)
        self._changes: list[BackendChange] = []
        self._ready: _Probed | None = None
        self._trying: RemoteEngine | None = None
        self._ended: list[RemoteEngine] = []
        self._falls = self._promotions = self._streak = 0
        self._begun, self._fallen, self._closing = (threading.Event() for _ in range(3))
        self._thread: threading.Thread | None = None
        if accelerated is not None:
            name = f"try-{accelerated.backend}"
            self._thread = threading.Thread(target=self._try_for_good, args=(accelerated,), name=name)
            self._thread.daemon = True
            self._thread.start()

    @property
    def backend(self) -> str:
        """``cpu``, or the accelerator's name, whichever ran the last window."""
        probed = self._probed
        return "cpu" if probed is None else probed.engine.backend

    @property
    def reason(self) -> str | None:
        """Why ``backend`` is not the accelerator: ``probing`` or a :class:`Fault`; None when it is."""
        return self._reason

    def input_view(self) -> npt.NDArray[Any]:
        """Return where the next input is to be written; the first call for a window may change backends."""
        if not self._writing:
            self._between_windows()
            self._writing = True
        return self._current.input_view()

    def invoke(self) -> None:
        """Run the model on what was written, on the CPU if the accelerator fails.

        Raises:
            BundleError: MODEL_BAD; an operator failed on the CPU.
            DeviceError: The accelerator failed and the CPU model cannot be loaded.
        """
        # before the run: a runtime may use an input's memory for what comes after it
        given = self._current.input_view().copy() if self.observe is not None else None
        start = self._busy_since_ns = self._clock_ns()
        try:
            self._invoke()
        finally:
            self._busy_since_ns = None
            self._writing = False
        taken = (self._clock_ns() - start) // 1000
        with self._lock:
            self._times_us.append(taken)
        if not self._begun.is_set():  # to set it again takes two locks
            self._begun.set()
        if self.observe is not None and given is not None:
            self.observe(given, self.logits())

    def logits(self) -> npt.NDArray[np.int8]:
        """Return the int8 output codes of the last ``invoke``, shape ``(labels,)``, as a copy."""
        return self._current.logits()

    def changes(self) -> list[BackendChange]:
        """Return what changed since the last call, oldest first, and forget it."""
        if not self._changes:
            return []
        with self._lock:
            changes, self._changes = self._changes, []
        return changes

    def status(self) -> BackendStatus:
        """Return what runs the model and how long that takes."""
        with self._lock:
            times = sorted(self._times_us)
            return BackendStatus(
                backend=self.backend,
                reason=self._reason,
                wanted="cpu" if self._accelerated is None else self._accelerated.backend,
                falls=self._falls,
                promotions=self._promotions,
                invoke_p50_us=round(statistics.median(times)) if times else 0,
                invoke_max_us=times[-1] if times else 0,
            )

    def busy_since_ns(self) -> int | None:
        """Return the monotonic time at which the run in progress began; None when there is none."""
        return self._busy_since_ns

    def close(self) -> None:
        """End the accelerator's process and the thread that tries it. Twice does no harm."""
        self._closing.set()
        self._begun.set()
        self._fallen.set()
        with self._lock:
            trying = self._trying
        if trying is not None:
            trying.kill()
        if self._thread is not None:
            self._thread.join(_CLOSE_S)
        with self._lock:
            probed = [found for found in (self._ready, self._probed) if found is not None]
            self._ready = None
            ended, self._ended = self._ended, []
        for engine in (*ended, *(found.engine for found in probed)):
            engine.close()

    # the stream's thread

    @property
    def _current(self) -> Engine | RemoteEngine:
        if self._probed is not None:
            return self._probed.engine
        if self._cpu is None:
            raise RuntimeError("neither backend is there")
        return self._cpu

    def _invoke(self) -> None:
        if self._probed is None:
            self._current.invoke()
            return
        engine = self._probed.engine
        try:
            engine.invoke()
        except AcceleratorError as failure:
            cpu = self._fall(failure)
            cpu.input_view()[...] = engine.input_view()  # the same window: only the process is lost
            cpu.invoke()

    def _between_windows(self) -> None:
        if self._ready is not None:
            self._promote()
        elif self._probed is not None and self._clock_ns() - self._checked_ns > self._recheck_ns:
            self._checked_ns = self._clock_ns()
            try:
                self._check_again(self._probed)
            except AcceleratorError as failure:
                self._fall(failure)

    def _check_again(self, probed: _Probed) -> None:
        check_answer(probed.engine, probed.again)
        resident_mb = probed.engine.rss_bytes() / 2**20
        if resident_mb > self._settings.memory_mb:
            raise AcceleratorError(
                Fault.DELEGATE_LEAKS,
                f"{probed.engine.backend}: its process holds {resident_mb:.0f} MB, "
                f"{self._settings.memory_mb} MB are allowed",
            )

    @property
    def _recheck_ns(self) -> int:
        return int(self._settings.recheck_s * NS_PER_S)

    def _promote(self) -> None:
        with self._lock:
            probed, self._ready = self._ready, None
            if probed is None:
                return
            self._probed, self._cpu = probed, None  # a fall builds a new one
            self._reason = None
            self._promotions += 1
            self._times_us.clear()
            detail = {
                "backend": probed.engine.backend,
                "parts": probed.engine.parts,
                "p50_us": probed.speed.accelerator_us,
                "cpu_p50_us": probed.speed.cpu_us,
            }
            self._changes.append(BackendChange("promoted", detail))
        self._checked_ns = self._promoted_ns = self._clock_ns()

    def _fall(self, failure: AcceleratorError) -> Engine:
        """Go to a new CPU interpreter; the thread that tries clears up and begins to wait."""
        probed = self._probed
        if probed is None:
            raise RuntimeError("a fall from the CPU")
        cpu = Engine(self._model, threads=self._threads)
        probed.engine.kill()
        with self._lock:
            self._probed, self._cpu = None, cpu
            self._times_us.clear()
            self._ended.append(probed.engine)
            if self._clock_ns() - self._promoted_ns > _HELD_NS:
                self._streak = 0
            self._given_up(failure)
        self._fallen.set()
        return cpu

    # the thread that tries

    def _try_for_good(self, accelerated: AcceleratedModel) -> None:
        self._begun.wait(_FIRST_WINDOW_S)
        while not self._closing.is_set():
            try:
                probed = self._attempts(accelerated)
            except AcceleratorError as failure:
                if self._closing.is_set():
                    return
                with self._lock:
                    self._given_up(failure)
            else:
                self._fallen.clear()
                with self._lock:
                    self._ready = probed
                if not self._closing.is_set():
                    self._fallen.wait()
                self._bury()
            self._closing.wait(self._cool_down_s)

    def _attempts(self, accelerated: AcceleratedModel) -> _Probed:
        """Try several times.

        Raises:
            AcceleratorError: The fault of the last attempt.
        """
        left = self._settings.probes
        while True:
            left -= 1
            try:
                return self._probe(accelerated)
            except AcceleratorError as error:
                failure = error
            except Exception as error:  # noqa: BLE001 - whatever it is, the stream goes on
                failure = _unexpected(accelerated.backend, error)
            if not left or failure.fault in _DETERMINED or self._closing.wait(self._settings.retry_s):
                raise failure

    def _probe(self, accelerated: AcceleratedModel) -> _Probed:
        if not self._bury():
            raise AcceleratorError(
                Fault.DELEGATE_HUNG,
                f"{accelerated.backend}: its last process hangs in a driver and cannot be ended",
            )
        engine = RemoteEngine(
            accelerated.backend,
            accelerated.model,
            accelerated.accelerator,
            threads=self._threads,
            probe_s=self._settings.probe_s,
            invoke_s=self._settings.invoke_s,
        )
        with self._lock:
            self._trying = engine
        try:
            if self._closing.is_set():
                engine.kill()
            engine.load()
            check_tensors(engine, (self.input, self.output))
            golden = accelerated.golden()
            for sample in golden:
                check_answer(engine, sample)
            cpu = Engine(self._model, threads=self._threads)
            speed = check_speed(engine, cpu, golden, accelerated.accelerator.max_latency_ratio)
        except BaseException:  # whatever it was, the worker's process must be ended
            with self._lock:
                self._ended.append(engine)
            self._bury()
            raise
        finally:
            with self._lock:
                self._trying = None
        return _Probed(engine, speed, golden[0])

    def _bury(self) -> bool:
        """Give back what ended processes held; tell whether none is left that cannot be ended."""
        with self._lock:
            ended = list(self._ended)
        for engine in ended:
            engine.close()
        with self._lock:
            self._ended = [engine for engine in self._ended if not engine.gone]
            return not self._ended

    def _given_up(self, failure: AcceleratorError) -> None:
        """Count and tell that the CPU goes on alone for a while. The lock is held."""
        self._falls += 1
        self._streak += 1
        told = self._reason
        self._reason = str(failure.fault)
        if self._reason == told:
            return  # it is known, and every further try would say it again
        detail = {
            "backend": "cpu",
            "wanted": self._accelerated.backend if self._accelerated else "cpu",
            "reason": self._reason,
            "message": str(failure),
            "retry_s": self._cool_down_s,
        }
        self._changes.append(BackendChange("fallback", detail))

    @property
    def _cool_down_s(self) -> float:
        doubled = self._settings.cool_down_s * 2.0 ** min(self._streak - 1, 32)
        return float(min(doubled, max(_LONGEST_COOL_DOWN_S, self._settings.cool_down_s)))


def _unexpected(backend: str, error: Exception) -> AcceleratorError:
    text = str(error) if isinstance(error, GalagoError) else f"{type(error).__name__}: {error}"
    return AcceleratorError(Fault.PROBE_FAILED, f"{backend}: {text}")
