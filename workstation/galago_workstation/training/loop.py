"""The training loop: one network, its data, and the epoch whose weights are kept."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from galago_converters.frameworks import import_tensorflow
from galago_workstation.data.augmentation.own_material import OwnFolder
from galago_workstation.data.batches import Batches, Witness
from galago_workstation.data.decoded_samples import decoded_once
from galago_workstation.data.feed import open_feed
from galago_workstation.data.sample import Part, Sample
from galago_workstation.data.sample_preparation import SamplePreparation
from galago_workstation.data.sample_reader import AudioReader, ImageReader
from galago_workstation.data.worker_crew import usual_workers
from galago_workstation.run_folder import METRICS_FILE, weights_sha256
from galago_workstation.training.checkpoint import Checkpoint, TrainingState
from galago_workstation.training.checkpoint_saver import CheckpointSaver
from galago_workstation.training.curves import Epoch
from galago_workstation.training.epoch_keeper import EpochKeeper
from galago_workstation.training.epoch_streams import EpochStreams
from galago_workstation.training.interruption import Interruption
from galago_workstation.training.learner import Learner, sample_loss
from galago_workstation.training.machines import Machines
from galago_workstation.training.network_kind import build_network
from galago_workstation.training.phases import LearningPhase, let_learn, optimizer, phases, schedule
from galago_workstation.training.progress import TrainingProgress, duration
from galago_workstation.training.replicas import open_replicas
from galago_workstation.training.roll_call import meet
from galago_workstation.training.solved_logits import embeddings, solve_logits
from galago_workstation.training.trained_on import trained_on
from galago_workstation.training.training_sets import TrainingSets
from galago_workstation.training.weights.start_weights import LOGITS, StartWeights, put_logits, put_weights
from galago_workstation.training_config import Config

Parts = Mapping[Part, Sequence[Sample]]


class Trainer:
    """One network, its data, and the loop that brings them together.

    Args:
        config: The configuration.
        reader: Of its data.
        labels: Names of the classes, in output order.
        parts: The samples.
        folder: The run folder; None on a machine that helps another one, which keeps the run.
        progress: Is told what happens.
        checkpoint: Where the training is kept while it lasts; another machine than the first one has none.
        start: What training begins with; None: chance.
        streams: Judges epochs by recordings; None where they are not chosen by them.
        material: Somebody's own recordings and pictures, by the key that names their folder.
        machines: The machines that train together; None: this one alone. It waits for the others.

    Raises:
        GalagoError: As ``data``, ``build_network`` and ``roll_call.meet``.
    """

    def __init__(
        self,
        config: Config,
        reader: ImageReader | AudioReader,
        labels: Sequence[str],
        parts: Parts,
        folder: Path | None,
        progress: TrainingProgress,
        checkpoint: Checkpoint,
        *,
        start: StartWeights | None = None,
        material: Mapping[str, OwnFolder] = MappingProxyType({}),
        streams: EpochStreams | None = None,
        machines: Machines | None = None,
    ) -> None:
        self._config = config
        self._start = start
        self._options = config.train
        self._labels = labels
        self._folder = folder
        self._progress = progress
        self._streams = streams
        self._checkpoint = checkpoint
        self._input_shape = reader.input_shape
        train = parts["train"]
        background = {number for number, name in enumerate(labels) if name in config.data.background}
        feed = open_feed(config, reader, train, folder, background=background, material=material)
        if (where := feed.held.said()) is not None:
            progress.say(where)
        self._preparation = SamplePreparation(feed, usual_workers() if feed.costly else 0)
        self._feed = feed
        self._witness = Witness(feed)
        self._numbers = [sample.label for sample in train]
        validation = (
            reader.inputs(parts["validation"], folder),
            np.array([sample.label for sample in parts["validation"]], np.int32),
        )
        for _ in decoded_once(lambda sample: reader.raw(sample).shape, parts["test"]):
            pass  # a test picture that cannot be read shall not be found after hours
        self._augmented = config.augment != type(config.augment)()
        self.tf = import_tensorflow()  # seconds: only when the data has turned out well
        # same seed, same machine, same weights; on CPUs this costs nothing measurable
        self.tf.config.experimental.enable_op_determinism()
        self._keras = self.tf.keras
        self._kept = checkpoint.content() if machines is None or machines.chief else b""
        self._meeting = None
        if machines is not None:
            self._meeting = meet(machines, checkpoint.key, self._kept, progress.say)
            self._kept = self._meeting.state
        self.replicas = open_replicas(self.tf, machines)
        self._batches = self._new_batches()
        self._sets = TrainingSets(
            self.tf, config, len(labels), self._numbers, self._batches, validation, self.replicas
        )
        with self.replicas.scope():
            self._network = self._new_network(self._options.precision)
        if start is not None:
            put_weights(self._network, start)
            if config.model.keep_logits and (new := put_logits(self._network, start, labels)):
                progress.say(f"labels that it did not have, which begin with chance: {', '.join(new)}")

    @property
    def parameters(self) -> int:
        """Number of weights, batch norm statistics included."""
        return int(self._network.count_params())

    @property
    def batch_size(self) -> int:
        """Samples of a batch, those of all devices together."""
        return self._batches.batch_size

    def fit(self) -> FitResult:
        """Train, put the best weights back, and return all epochs and the best one.

        metrics.csv grows with every epoch. A training that was killed goes on behind the last epoch that the
        checkpoint has. Ctrl+C once ends it and keeps the best epoch.

        Raises:
            CallerError: CONFIG_BAD; the loss is no number any more, or augmentation does nothing.
            LinkError: The disk fails.
        """
        for line in self._lines():
            self._progress.say(line)
        state = self._state()
        todo = phases(self._options, warm=self._start is not None)
        if state is None and self._start is not None and not self._config.model.keep_logits:
            self._solve_logits()
        self._progress.begin(
            sum(phase.epochs for phase in todo),
            self._batches.steps,
            0 if state is None else len(state.epochs),
        )
        with Interruption(self._progress.say) as interruption:
            keeper = EpochKeeper(
                self._options,
                None if self._folder is None else self._folder / METRICS_FILE,
                self._progress,
                self._witness,
                augmented=self._augmented,
                streams=self._streams,
            )
            if state is None:
                self.replicas.prepare(self._network)
            else:
                keeper.take_up(state.epochs, state.best_epoch, state.best_weights)
            validation = self.replicas.batches(self._sets.validation())
            interrupted = False
            for number, phase in enumerate(todo):
                if interrupted or (state is not None and number < state.phase):
                    continue
                own = state if state is not None and number == state.phase else None
                if own is not None and own.phase_over:
                    self._put(own)
                    continue
                saver = CheckpointSaver(
                    self._checkpoint if self.replicas.chief else None, keeper, number, self.batch_size
                )
                interrupted = self._learn(phase, keeper, saver, validation, own, interruption)
        assert keeper.best is not None
        self._network.set_weights(keeper.best_weights)
        return FitResult(keeper.epochs, keeper.best, interrupted)

    def _lines(self) -> Iterator[str]:
        """Yield what is worth knowing before it begins."""
        yield from trained_on(self.tf, self.replicas, self._options.precision)
        if self._batches.rounds > 1:
            yield (
                f"each epoch goes through the training samples {self._batches.rounds} times, so that there "
                f"are at least {self._options.min_steps} steps"
            )
        most = min(self._options.batch_size, len(self._numbers))
        if self.batch_size != most:
            devices = f" for each of {self.replicas.count} devices" if self.replicas.count > 1 else ""
            yield f"batches of {self.batch_size} samples, not of {most}: even ones{devices}"

    def _solve_logits(self) -> None:
        """Let the logits begin with the best that there is for what the body gives before it learns."""
        began = time.monotonic()
        batches = self._batches if self.replicas.machines is None else self._new_batches(whole=True)
        seen = embeddings(self.tf, self._network, self._feed, np.array(self._numbers, np.int32), batches)
        solved = solve_logits(
            seen,
            activation=self._config.decision.activation,
            label_smoothing=self._options.label_smoothing,
            label_weights=self._sets.class_weights() if self._options.class_weights else None,
        )
        # another processor rounds in another way, and machines shall begin with the same
        self._network.get_layer(LOGITS).set_weights(self.replicas.agreed([solved.kernel, solved.bias]))
        self._progress.say(
            f"logits solved on {len(seen.values)} views of {seen.samples} samples in "
            f"{duration(time.monotonic() - began)}"
        )

    def _state(self) -> TrainingState | None:
        """Return where training goes on."""
        kept, self._kept = self._kept, b""
        state = self._checkpoint.state_in(kept)
        if state is not None and state.batch_size != self.batch_size:
            state = None  # another number of devices
        if state is not None:
            self._progress.say(f"goes on behind epoch {len(state.epochs)}, where it was ended")
        elif kept:
            self._progress.say(
                "begins anew: what it was ended at had other data, settings, devices or software"
            )
        return state

    def _learn(
        self,
        phase: LearningPhase,
        keeper: EpochKeeper,
        saver: CheckpointSaver,
        validation: Any,
        state: TrainingState | None,
        interruption: Interruption,
    ) -> bool:
        """Train for the epochs of a phase, or until the best weights stay the best for too long.

        Returns:
            Whether somebody ended it.
        """
        steps = self._batches.steps
        rate = schedule(self._keras, self._options, phase, steps)
        let_learn(self._keras, self._network, phase)
        with self.replicas.scope():
            made = optimizer(self._keras, self._options, phase, self._network, rate)
        loss = sample_loss(self._keras, self._config.decision.activation, self._options.label_smoothing)
        learner = Learner(self.tf, self.replicas, self._network, made, loss, self.batch_size)
        if state is not None:
            self._put(state, made)
        first = len(keeper.epochs) if state is None else state.phase_first
        last = first + phase.epochs
        keeper.begin(first)
        batches = self.replicas.batches(self._sets.training(range(len(keeper.epochs), last)))
        with self._sets.own_errors():
            for epoch in range(len(keeper.epochs), last):
                asked = self._learn_epoch(learner, batches, keeper, interruption)
                with learner.averaged():
                    judged = learner.judge(validation, self._sets.validation_steps)
                    streams = keeper.judged_by_streams(self._network)
                    now, kept = float(rate(made.iterations)), self._network.get_weights
                    goes_on = keeper.epoch_ends(learner.learned(), judged, now, kept, streams)
                asked = asked or (self.replicas.machines is None and interruption.asked)
                over = asked or not goes_on or epoch + 1 == last
                saver.save(first, over, self._network, made)
                if over:
                    return asked
        return False

    def _learn_epoch(
        self, learner: Learner, batches: Any, keeper: EpochKeeper, interruption: Interruption
    ) -> bool:
        """Learn from the batches of an epoch; return whether somebody asked for the end."""
        keeper.epoch_begins()
        for _ in range(self._batches.steps):
            # of several machines all end after the same step, or the others would wait for one
            asked = learner.learn(batches, asked=interruption.asked)
            keeper.step_ends()
            if interruption.asked if self.replicas.machines is None else asked:
                return True
        return False

    def _put(self, state: TrainingState, optimizer: Any = None) -> None:
        """Give network and optimizer the values that they had."""
        pairs = [(self._network.variables, state.variables)]
        if optimizer is not None:
            pairs.append((optimizer.variables, state.optimizer))
        for variables, values in pairs:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        self.replicas.prepare(self._network)

    def part(self) -> None:
        """Let the other machines go, which have waited for the run to be kept, or wait for that.

        Raises:
            LinkError: WORKER_LOST; the machine that keeps it ended.
        """
        if self._meeting is not None:
            self._meeting.part()

    def close(self) -> None:
        """End the processes that prepare samples."""
        self._preparation.close()

    def save(self, path: Path) -> str:
        """Write the network without its optimizer; return the hash of its weights."""
        clean = self._new_network()
        clean.set_weights(self._network.get_weights())
        clean.save(path)
        return weights_sha256(clean)

    def _new_batches(self, *, whole: bool = False) -> Batches:
        """Return the batches of this machine, or whole ones that are made in this process."""
        return Batches(
            self._feed,
            self._numbers,
            classes=len(self._labels),
            batch_size=self._options.batch_size,
            least_steps=-(-self._options.min_steps // self._options.epochs),
            seed=self._options.seed,
            sampling=self._options.sampling,
            witness=Witness(self._feed) if whole else self._witness,
            preparation=None if whole else self._preparation,
            replicas=1 if whole else self.replicas.count,
            own=None if whole else self.replicas.own,
        )

    def _new_network(self, precision: str = "float32") -> Any:
        return build_network(
            self._config.model,
            self._input_shape,
            len(self._labels),
            seed=self._options.seed,
            precision=precision,
        )


@dataclass(frozen=True, slots=True)
class FitResult:
    """What a training came to."""

    epochs: Sequence[Epoch]
    best: Epoch
    interrupted: bool
    """Somebody ended it before its time."""
