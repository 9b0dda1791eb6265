"""Semantic Connectivity Correction (SCC): which regions are wrong, learnt from noisy labels."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from seco.common.arrays import Array
from seco.common.checks import check_choice, check_integer, describe
from seco.common.files import PathLike
from seco.common.images import Map, restore
from seco.common.label_spaces import CITYSCAPES
from seco.common.labels import LabelSpace
from seco.common.normalization import Normalization
from seco.common.parallel import processes_of_group
from seco.common.precision import cpu_by_default
from seco.common.processes import ALONE
from seco.connectivities import Connectivities
from seco.correction.classifier import ConnectivityClassifier
from seco.correction.correcting import Correction, correct_images
from seco.correction.extractors import as_extractor
from seco.correction.fitting import FitRecord, fit_classifier
from seco.correction.judging import Judgement
from seco.correction.lessons import FEATURE_MEMORY
from seco.correction.questions import read_question
from seco.correction.samples import Sample
from seco.correction.segmenter_extractor import SegmenterExtractor
from seco.correction.settings import SCCSettings
from seco.correction.storage import read_corrector, write_corrector
from seco.correction.stream import SampleStream
from seco.sam.protocol import Embedding


class ConnectivityCorrector:
    """Find the regions of pseudo-labels whose class is wrong, and repair or drop them.

    Ground truth is never needed. A classifier of regions is trained briefly on the noisy labels
    themselves: it fits what is clean before it memorises what is not. Regions whose class it then
    finds unlikely (high loss, told apart by a Gaussian mixture) are noise: they take the class
    that the classifier is sure of, or become ignore if it is not sure of any.

    It works on the labels of any model, refined with SAM or not. Where it is known how sure these
    are, that counts as a second witness, beside the classifier: on real labels both together
    recognise noise better than either.

    Args:
        label_space: names and ignore index of the classes.
        encoder: where features come from: a SAM as :func:`seco.load_sam` accepts it (to look
            closer with it :class:`seco.SegmenterExtractor`), an ``nn.Module`` (frozen, ImageNet
            statistics; for anything else :class:`seco.ModuleExtractor`), or ``None`` for a small
            network that is trained with the classifier. That one wants thousands of images: on a
            hundred it made labels worse.
        settings: every choice of the method.
        seed: of all that is random in fitting; no global generator is read or moved.
        device: where the small network lives (the CPU if ``None``); an encoder of yours stays
            where it is.

    Raises:
        TypeError, ValueError: an argument of another kind.

    Example:
        >>> from seco.demo import STREETS, street_scene
        >>> scenes = [street_scene(seed, size=(64, 128)) for seed in range(3)]
        >>> samples = [(scene.image, scene.label) for scene in scenes]  # any iterable; a Dataset
        >>> short = SCCSettings(iterations=2)
        >>> corrector = ConnectivityCorrector(STREETS, settings=short).fit(samples)
        >>> corrector.correct(scenes[0].image, scenes[0].label).shape
        (64, 128)

    Source: Zhao et al., "Connectivity-Driven Pseudo-Labeling Makes Stronger Cross-Domain
    Segmenters", NeurIPS 2024, section 3.3.
    """

    @cpu_by_default()
    @torch.inference_mode(False)  # what the caller is in: weights made there cannot be trained
    def __init__(
        self,
        label_space: LabelSpace = CITYSCAPES,
        encoder: object = None,
        *,
        settings: SCCSettings = SCCSettings(),
        seed: int = 0,
        device: str | torch.device | None = None,
    ) -> None:
        for name, value, kind in (
            ("label_space", label_space, LabelSpace),
            ("settings", settings, SCCSettings),
        ):
            if not isinstance(value, kind):
                raise TypeError(f"{name}: expected a {kind.__name__}, got {describe(value)}")
        self.label_space = label_space
        self.settings = settings
        self.seed = check_integer("seed", seed, low=0)
        self._given = as_extractor(encoder, seed=seed, device=device)
        self._fitted: tuple[ConnectivityClassifier, FitRecord] | None = None
        self._told = False  # of other units than it was fitted to

    @property
    def record(self) -> FitRecord:
        """What fitting saw and found.

        Raises:
            ValueError: not fitted.
        """
        return self._fitted_parts()[1]

    @cpu_by_default()
    def fit(
        self,
        samples: Iterable[Sample],
        *,
        normalization: Normalization | None = None,
        checkpoint: PathLike | None = None,
        checkpoint_every: int = 500,
        feature_memory: int = FEATURE_MEMORY,
        readers: int = 0,
        data_parallel: bool = True,
        progress: bool = False,
    ) -> ConnectivityCorrector:
        """Train the classifier, then fit the loss mixture; always from the start.

        In a program that ``torchrun`` started, call ``torch.distributed.init_process_group``
        before, as for any training; none is initialised here. Then all processes call this with
        the same arguments. They share the reading and every step's connectivities, average their
        gradients, and all end with the same corrector: the one that a single process makes, up to
        rounding. The batch is not larger than of one process: of ``batch_size / per_image`` images
        a step, each goes to one process. Let one of them :meth:`save`.

        Args:
            samples: pairs of an image and its label, or its :class:`seco.Connectivities`, of
                single images as :func:`seco.refine_pseudo_labels` takes them; sizes may differ. Or
                triples, with how sure the label is, (H, W) in 0-1: of raw labels the model's
                confidence, of refined ones ``Refinement.scores``. It must then be given to
                :meth:`correct`, too. A list, a ``Dataset`` or anything else that can be gone
                through several times and is the same every time; only one sample is held at a
                time, or ten with ``readers``.
            normalization: (mean, std) if the images are normalised.
            checkpoint: a file to keep the state of the training in; if it is there, the training
                goes on from it and, given the same samples, ends as if it had never stopped.
            checkpoint_every: steps between two writings.
            feature_memory: bytes, per process, in which a frozen encoder's features of the
                connectivities (4 C bytes each, twice with ``SCCSettings.flip``) are kept: each
                image then passes it once, and once mirrored. The result is the same with 0.
            readers: threads that read samples before their turn, if ``samples[i]`` may be called
                in any thread and by several at once; with 0 it is called in the caller's alone.
            data_parallel: ``False``: fit alone though a process group is initialised.
            progress: show bars.

        Returns:
            Itself. After an error it is what it was before.

        Raises:
            TypeError, ValueError: a sample that is wrong or changes (the message tells which),
                some with and some without a confidence, nothing to learn from, or a checkpoint of
                another training or damaged.
            RuntimeError: another process failed.

        Warns:
            NoNoiseFoundWarning: the losses do not support two components: nothing will be
                corrected or dropped.
        """
        check_integer("checkpoint_every", checkpoint_every, low=1)
        check_integer("feature_memory", feature_memory, low=0)
        check_integer("readers", readers, low=0)
        check_choice("data_parallel", data_parallel, (False, True))
        classifier = self._new_classifier()
        stream = SampleStream(
            samples,
            self.label_space,
            self.settings,
            normalization=normalization,
            readers=readers,
        )
        record = fit_classifier(
            classifier,
            stream,
            self.settings,
            seed=self.seed,
            processes=processes_of_group() if data_parallel else ALONE,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            feature_memory=feature_memory,
            progress=progress,
        )
        self._fitted, self._told = (classifier, record), False
        return self

    def correct(
        self,
        img: Array | Tensor,
        pl: Map,
        *,
        connectivities: Connectivities | Sequence[Connectivities] | None = None,
        confidence: Array | Tensor | None = None,
        valid: Array | Tensor | None = None,
        normalization: Normalization | None = None,
    ) -> Map:
        """Keep, repair or drop every region of a label.

        Args:
            img: RGB image(s), as :func:`seco.refine_pseudo_labels` takes them.
            pl: label(s), (H, W) or (B, H, W), the same kind of array.
            connectivities: the regions to judge, one per image, such as
                :func:`seco.refine_with_details` gives; their pixels take their classes. What is
                labelled outside them, or everything if ``None``, is judged by connected
                components.
            confidence: (H, W) or (B, H, W) floats in 0-1, how sure the labels are; it decides with
                the classifier where the corrector was :meth:`fit` to samples with confidences.
            valid: (H, W) or (B, H, W) bool; pixels where it is false come back unchanged.
            normalization: (mean, std) if ``img`` is normalised.

        Returns:
            Labels with the kind, shape, dtype and device of ``pl``.

        Raises:
            TypeError, ValueError: an argument of another kind, shape, dtype or range, the
                corrector is not fitted, or it was fitted with confidences and gets none.

        Warns:
            UserWarning: once, that it was fitted to :class:`seco.Connectivities` and judges
                connected components, or the other way round.
        """
        found = self.correct_with_details(
            img,
            pl,
            connectivities=connectivities,
            confidence=confidence,
            valid=valid,
            normalization=normalization,
        )
        return restore(found.labels, like=pl)

    def correct_with_details(
        self,
        img: Array | Tensor,
        pl: Array | Tensor,
        *,
        connectivities: Connectivities | Sequence[Connectivities] | None = None,
        confidence: Array | Tensor | None = None,
        valid: Array | Tensor | None = None,
        normalization: Normalization | None = None,
    ) -> Correction:
        """Correct, and tell what was found out about every connectivity.

        Arguments and errors are those of :meth:`correct`, which is this method's ``labels``
        alone.

        Returns:
            Tensors on the device of ``pl``.
        """
        self._fitted_parts()
        asked = read_question(
            img,
            pl,
            self.label_space,
            connectivities=connectivities,
            confidence=confidence,
            valid=valid,
            normalization=normalization,
        )
        found = self.correct_batch(
            asked.images,
            asked.labels,
            connectivities=asked.connectivities,
            scores=asked.scores,
            valid=asked.valid,
        )
        self.warn_if_fitted_otherwise(regions=asked.connectivities is not None)
        return found

    @cpu_by_default()
    def correct_batch(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        connectivities: Sequence[Connectivities] | None = None,
        scores: Tensor | None = None,
        valid: Tensor | None = None,
        segmenter: object = None,
        embeddings: Sequence[Embedding | None] | None = None,
    ) -> Correction:
        """Correct tensors that are known to be right; :meth:`correct` takes everything else.

        Args:
            images: (B, 3, H, W), uint8 or float32 in 0-255.
            labels: (B, H, W) int64.
            connectivities: see :meth:`correct`.
            scores: (B, H, W) float32 in [0, 1], how sure the labels were before; 1 if ``None``.
            valid: (B, H, W) bool.
            segmenter: that has encoded images before; of use if it is the encoder, too.
            embeddings: by it, one per image, or ``None`` of one that it has not encoded.

        Raises:
            TypeError, ValueError: connectivities that do not fit, not fitted, or no scores for one
                that was fitted with confidences.
        """
        classifier, record = self._fitted_parts()
        extractor = classifier.extractor
        if not (isinstance(extractor, SegmenterExtractor) and extractor.shares(segmenter)):
            embeddings = None
        return correct_images(
            images,
            labels,
            classifier,
            record,
            self.settings,
            self.label_space,
            connectivities=connectivities,
            scores=scores,
            valid=valid,
            embeddings=embeddings,
        )

    def warn_if_fitted_otherwise(self, *, regions: bool, aloud: bool = True) -> None:
        """Warn, once, where it judges other units than those that it was fitted to.

        How large a loss means noise is learnt from one kind, and does not hold for the other.
        Nothing is said of one that was fitted to both.

        Args:
            regions: whether it judges regions that are given, or connected components.
            aloud: ``False``: take it as told, as another process tells it.
        """
        fitted = self.record.regions
        if self._told or fitted is None or fitted == regions:
            return
        if not aloud:
            self._told = True
            return
        if fitted:
            said = (
                "corrector: was fitted to the regions of refined labels and judges connected "
                "components here; give the regions, connectivities=details.connectivities of "
                "details = seco.refine_with_details(...) or --connectivities as seco refine "
                "--save-connectivities wrote them, or fit it to labels"
            )
        else:
            said = (
                "corrector: was fitted to the connected components of labels and judges regions "
                "here; fit it to samples (img, details.connectivities[0]) of details = "
                "seco.refine_with_details(...) or with --connectivities as seco refine "
                "--save-connectivities wrote them"
            )
        warnings.warn(said, stacklevel=3)
        self._told = True  # after it: where warnings are errors every call is refused

    def losses(
        self,
        img: Array | Tensor,
        pl: Array | Tensor,
        *,
        connectivities: Connectivities | None = None,
        confidence: Array | Tensor | None = None,
        normalization: Normalization | None = None,
    ) -> Tensor:
        """Cross-entropy of every connectivity of one image under the classifier and neighbours.

        Where the corrector was fitted with confidences, with that of the labels. Arguments and
        errors are those of :meth:`correct`, for one image.

        Returns:
            (N,) float32, in the order of ``connectivities`` or of
            :func:`seco.connected_components`.
        """
        return self._judge_one(img, pl, connectivities, confidence, normalization).losses

    def noise_probability(
        self,
        img: Array | Tensor,
        pl: Array | Tensor,
        *,
        connectivities: Connectivities | None = None,
        confidence: Array | Tensor | None = None,
        normalization: Normalization | None = None,
    ) -> Tensor:
        """Probability that the class of every connectivity of one image is wrong.

        Arguments, errors and order are those of :meth:`losses`.

        Returns:
            (N,) float32 in [0, 1].
        """
        found = self._judge_one(img, pl, connectivities, confidence, normalization)
        return found.noise_probability

    def save(self, directory: PathLike) -> None:
        """Write a fitted corrector: tensors as safetensors, the rest as JSON; no pickle.

        The features of the regions that others are compared with are written (2 C bytes each, at
        most 50,000); of a frozen encoder only what it is recognised by. A kill at any moment
        leaves what was there before, or all of the new.

        Args:
            directory: made if it is not there.

        Raises:
            ValueError: not fitted.
            OSError: the directory cannot be written.
        """
        classifier, record = self._fitted_parts()
        write_corrector(
            directory,
            label_space=self.label_space,
            settings=self.settings,
            seed=self.seed,
            encoder=self._given.describe(),
            state=classifier.state(),
            record=record,
        )

    @classmethod
    @cpu_by_default()
    def load(
        cls,
        directory: PathLike,
        *,
        encoder: object = None,
        device: str | torch.device | None = None,
    ) -> ConnectivityCorrector:
        """Read what :meth:`save` wrote.

        Args:
            directory: where it was written to.
            encoder: the same as the corrector was made with.
            device: of the small network.

        Raises:
            OSError: a file cannot be opened.
            ValueError: no corrector, a damaged one, one of another version, or another encoder.
        """
        saved = read_corrector(directory)
        corrector = cls(
            saved.label_space, encoder, settings=saved.settings, seed=saved.seed, device=device
        )
        saved.check_encoder(corrector._given.describe())
        classifier = corrector._new_classifier()
        classifier.load_state(saved.state)
        corrector._fitted = classifier, saved.record.to(classifier.extractor.device)
        return corrector

    @torch.inference_mode(False)
    def _new_classifier(self) -> ConnectivityClassifier:
        trains = self._given.trained is not None
        # What is trained is a copy: fitting starts from the same weights every time.
        extractor = copy.deepcopy(self._given) if trains else self._given
        return ConnectivityClassifier(extractor, self.label_space.num_classes)

    def _fitted_parts(self) -> tuple[ConnectivityClassifier, FitRecord]:
        if self._fitted is None:
            raise ValueError("corrector: expected a fitted one, got one before fit(samples)")
        return self._fitted

    def _judge_one(
        self,
        img: Array | Tensor,
        pl: Array | Tensor,
        connectivities: Connectivities | None,
        confidence: Array | Tensor | None,
        normalization: Normalization | None,
    ) -> Judgement:
        found = self.correct_with_details(
            img,
            pl,
            connectivities=connectivities,
            confidence=confidence,
            normalization=normalization,
        )
        if len(found.judgements) != 1:
            raise ValueError(f"img: expected one image, got {len(found.judgements)}")
        return found.judgements[0]
