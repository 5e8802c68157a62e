"""Grad-CAM and its evaluation: location, faithfulness and stability of saliency.

The maps come from the grad-cam package. On phantoms the lesion is known, so that "focus on the pathology" can be
measured.
"""

from meddef.saliency.agreement import rank_correlation, top_overlap
from meddef.saliency.maps import class_means, default_layer, grad_cam
from meddef.saliency.measure import measure_saliency
from meddef.saliency.place import border_mask, energy_in, pointing_hit
from meddef.saliency.removal import blurred, removal_area

__all__ = [
    "blurred",
    "border_mask",
    "class_means",
    "default_layer",
    "energy_in",
    "grad_cam",
    "measure_saliency",
    "pointing_hit",
    "rank_correlation",
    "removal_area",
    "top_overlap",
]
