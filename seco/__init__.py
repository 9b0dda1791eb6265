"""seco: pseudo-labels of target images, refined with the Segment Anything Model.

    import seco

    sam = seco.load_sam("vit_h", checkpoint="sam_vit_h_4b8939.pth")  # or "tiny", bundled
    labels = seco.refine_pseudo_labels(img, pl, sam, label_space=seco.CITYSCAPES)

    corrector = seco.ConnectivityCorrector(seco.CITYSCAPES, encoder=sam)
    corrector.fit(samples)  # (img, refine_with_details(img, pl, sam).connectivities[0]) pairs
    labels = seco.refine_pseudo_labels(img, pl, sam, corrector=corrector)

Data sets are refined by :mod:`seco.folder`, as the command ``seco`` does; figures, measures and
scenes to try things on are in :mod:`seco.plots`, :mod:`seco.evaluation` and :mod:`seco.demo`. SeCo
is Zhao et al., "Connectivity-Driven Pseudo-Labeling Makes
Stronger Cross-Domain Segmenters", NeurIPS 2024.
"""

from seco.common.label_spaces import (
    ADE20K,
    CAMVID,
    CITYSCAPES,
    MEDICAL,
    POTSDAM,
    SYNTHIA,
    find_label_space,
)
from seco.common.labels import LabelSpace
from seco.common.version import __version__ as __version__
from seco.components import Components, connected_components
from seco.connectivities import Connectivities
from seco.correction.correcting import Correction
from seco.correction.corrector import ConnectivityCorrector
from seco.correction.decision import Decisions
from seco.correction.extractors import ModuleExtractor
from seco.correction.fitting import FitRecord
from seco.correction.judging import Judgement
from seco.correction.mixture import NoNoiseFoundWarning
from seco.correction.protocol import FeatureExtractor, FeatureMap
from seco.correction.segmenter_extractor import SegmenterExtractor
from seco.correction.settings import PAPER as SCC_PAPER
from seco.correction.settings import SCCSettings
from seco.correction.torchvision_encoder import torchvision_encoder
from seco.in_loop import refine_in_loop
from seco.pipelines import LoadRegions, regions_of
from seco.refine import Refinement, refine_pseudo_labels, refine_with_details
from seco.region_maps import (
    RegionTable,
    from_region_map,
    read_region_map,
    to_region_map,
    transform_region_map,
)
from seco.regions import Regions
from seco.sam.accelerated_encoder import accelerate_sam
from seco.sam.loading import load_sam
from seco.sam.proposal_settings import ProposalSettings
from seco.sam.proposals import propose_regions
from seco.sam.protocol import Embedding, MaskLogits, PromptableSegmenter
from seco.selection import select_confident
from seco.settings import PAPER, PSASettings

__all__ = [
    "ADE20K",
    "CAMVID",
    "CITYSCAPES",
    "MEDICAL",
    "PAPER",
    "POTSDAM",
    "SCC_PAPER",
    "SYNTHIA",
    "Components",
    "Connectivities",
    "ConnectivityCorrector",
    "Correction",
    "Decisions",
    "Embedding",
    "FeatureExtractor",
    "FeatureMap",
    "FitRecord",
    "Judgement",
    "LabelSpace",
    "LoadRegions",
    "MaskLogits",
    "ModuleExtractor",
    "NoNoiseFoundWarning",
    "PSASettings",
    "PromptableSegmenter",
    "ProposalSettings",
    "Refinement",
    "RegionTable",
    "Regions",
    "SCCSettings",
    "SegmenterExtractor",
    "accelerate_sam",
    "connected_components",
    "find_label_space",
    "from_region_map",
    "load_sam",
    "propose_regions",
    "read_region_map",
    "refine_in_loop",
    "refine_pseudo_labels",
    "refine_with_details",
    "regions_of",
    "select_confident",
    "to_region_map",
    "torchvision_encoder",
    "transform_region_map",
]
