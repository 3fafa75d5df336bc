"""Makes the Scorer of a model version: reads its files, finds its encoders, checks its answers.

Watching for new versions is not here: see `reloader.py`.
"""

import atexit
import gc
from collections.abc import Mapping
from types import MappingProxyType

import torch

from consumer.crosswalks import Crosswalks
from consumer.errors import ArtifactError, EncoderError
from consumer.model.answer_cache import MAX_BYTES
from consumer.model.encoder import Encoder, load_encoder
from consumer.model.mixture import Mixture
from consumer.model.scorer import Scorer, check_serveable
from consumer.model.serving_options import AS_TRAINED, Precision, ServingOptions
from consumer.registry.artifact import Artifact
from consumer.registry.folder import ModelRegistry
from schemas.artifact import EncoderRef

# Frozen objects are never freed. When a process ends, triton 3.9 (it comes with PyTorch 2.15) reports each of its own that was
# not freed, in dozens of lines on standard error.
atexit.register(gc.unfreeze)


class ScorerLoader:
    """Turns the name of a version into a Scorer that has passed every check. Keeps the encoders of the last one."""

    def __init__(
        self,
        registry: ModelRegistry,
        *,
        encoder: str | None = None,
        device: str = "auto",
        precision: Precision = "auto",
        top_n: int = 5,
        cache_size: int = 0,
        cache_bytes: int = MAX_BYTES,
        serving_options: ServingOptions = AS_TRAINED,
        crosswalks: Crosswalks = MappingProxyType({}),
    ) -> None:
        """Take options. `encoder` says where the artifact's encoder lies, if not where it says; its weights must be the same."""
        self.registry = registry
        self._encoder_name = encoder
        self._device = device
        self._precision = precision
        self._top_n = top_n
        self._cache_limits: Mapping[str, int] = {"cache_size": cache_size, "cache_bytes": cache_bytes}
        self._serving_options = serving_options
        self._crosswalks = crosswalks
        self._encoders: dict[EncoderRef, Encoder] = {}

    def load(self, version: str) -> Scorer:
        """Return the scorer of a version. Raises ArtifactError or EncoderError, and then keeps nothing of the version."""
        artifact = self.registry.load(version)
        manifest = artifact.manifest
        encoders = {manifest.encoder: self._find_encoder(version, manifest.encoder, self._encoder_name)}
        for ref in (manifest.line_encoder, manifest.body_encoder):
            if ref:
                encoders[ref] = self._find_encoder(version, ref, None)
        scorer = self._make_scorer(artifact, encoders, AS_TRAINED)
        check_serveable(scorer)  # as it was published: what the serving options do to its answers is the operator's choice
        if self._serving_options != AS_TRAINED:
            scorer = self._make_scorer(artifact, encoders, self._serving_options)
        self._encoders = encoders
        _exempt_from_collection()
        return scorer

    def _make_scorer(self, artifact: Artifact, encoders: Mapping[EncoderRef, Encoder], options: ServingOptions) -> Scorer:
        manifest, encoder = artifact.manifest, encoders[artifact.manifest.encoder]
        try:
            mixture = Mixture(artifact.tensors, manifest.mix, manifest.exemplars, encoder.device, serving_options=options)
        except ValueError as error:
            raise ArtifactError("shape", f"version {manifest.version}: {error}") from error
        except torch.OutOfMemoryError as error:
            raise ArtifactError("too_large", f"version {manifest.version} has no room on {encoder.device}: {error}") from error
        return Scorer(
            manifest,
            encoder,
            mixture,
            line_encoder=encoders[manifest.line_encoder] if manifest.line_encoder else None,
            body_encoder=encoders[manifest.body_encoder] if manifest.body_encoder else None,
            top_n=self._top_n,
            **self._cache_limits,
            crosswalks=self._crosswalks,
        )

    def _find_encoder(self, version: str, ref: EncoderRef, override: str | None) -> Encoder:
        """Return the encoder that `ref` names. It is loaded, unless the version in service has the same one.

        It is looked for at `override`, then in the registry, then by its id. Raises ArtifactError, EncoderError.
        """
        for used in self._encoders.values():
            if (used.ref.sha256, used.ref.max_seq_length) == (ref.sha256, ref.max_seq_length):
                return _check_dimensions(version, used, ref)
        wanted = override or str(self.registry.find_encoder(ref.sha256) or ref.id)
        try:
            encoder = load_encoder(wanted, device=self._device, max_seq_length=ref.max_seq_length, precision=self._precision)
        except OSError as error:
            raise EncoderError(f"the encoder {wanted!r} cannot be read: {error}") from error
        if encoder.ref.sha256 != ref.sha256:
            raise EncoderError(
                f"the artifact was made with another encoder than {wanted!r}: it names {ref.id!r} with weights sha256 "
                f"{ref.sha256}, these are {encoder.ref.sha256}. Point --encoder at the right folder, or train again with this one"
            )
        return _check_dimensions(version, encoder, ref)


def _check_dimensions(version: str, encoder: Encoder, ref: EncoderRef) -> Encoder:
    """Return the encoder. Raises ArtifactError (encoder) if its vectors are not as long as `ref` says."""
    if encoder.ref.dim != ref.dim:
        raise ArtifactError("encoder", f"version {version} says its encoder has {ref.dim} dimensions; it has {encoder.ref.dim}")
    return encoder


def _exempt_from_collection() -> None:
    """Exempt all objects that exist now from garbage collection, until the next version is loaded.

    A version has tens of thousands of objects that live as long as it does; walking them took a third of a CPU's time. The
    objects of earlier versions are first unfrozen and collected: they hold each other in cycles (an encoder's modules do), so
    that nothing else would free them.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
