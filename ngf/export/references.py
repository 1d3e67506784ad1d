"""The papers behind attacks, defenses and measurements, as BibTeX.

Names, years and arXiv numbers are those of the docstrings of the plug-ins; a test compares them.
Surnames stand alone, as there. What those do not say (pages, DOIs) is not here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ngf.config import MeasureSpec, PurifySpec, Spec, TrainSpec
from ngf.export.about import PARTIAL, about
from ngf.runs.store import Run


@dataclass(frozen=True)
class Paper:
    """authors: surnames; the last is `others` where the docstring says et al. arxiv: its number,
    empty where it has none. venue: where it appeared, if the docstring says so.
    """

    title: str
    authors: tuple[str, ...]
    year: int
    arxiv: str = ""
    venue: str = ""

    def bibtex(self, key: str) -> str:
        fields = {
            "title": f"{{{self.title}}}",  # twice in braces: capitals stay
            "author": " and ".join(self.authors),
            "year": str(self.year),
        }
        if self.arxiv:
            fields |= {"eprint": self.arxiv, "archivePrefix": "arXiv"}
        if self.venue:
            fields["booktitle"] = self.venue
        kind = "inproceedings" if self.venue else "misc"
        lines = [f"  {name:<13} = {{{value}}}," for name, value in fields.items()]
        return "\n".join([f"@{kind}{{{key},", *lines, "}"])


PAPERS: Mapping[str, Paper] = {
    # ---- attacks
    "badnets": Paper(
        "BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply Chain",
        ("Gu", "Dolan-Gavitt", "Garg"),
        2017,
        "1708.06733",
    ),
    "blend": Paper(
        "Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning",
        ("Chen", "Liu", "Li", "Lu", "Song"),
        2017,
        "1712.05526",
    ),
    "sig": Paper(
        "A New Backdoor Attack in CNNs by Training Set Corruption without Label Poisoning",
        ("Barni", "Kallas", "Tondi"),
        2019,
        "1902.11237",
    ),
    "wanet": Paper(
        "WaNet -- Imperceptible Warping-based Backdoor Attack",
        ("Nguyen", "Tran"),
        2021,
        "2102.10369",
    ),
    "bppa": Paper(
        "BppAttack: Stealthy and Efficient Trojan Attacks against Deep Neural Networks via Image "
        "Quantization and Contrastive Adversarial Learning",
        ("Wang", "Zhai", "Ma"),
        2022,
        "2205.13383",
    ),
    "clb": Paper(
        "Label-Consistent Backdoor Attacks", ("Turner", "Tsipras", "Madry"), 2019, "1912.02771"
    ),
    "issba": Paper(
        "Invisible Backdoor Attack with Sample-Specific Triggers",
        ("Li", "Li", "Wu", "Li", "He", "Lyu"),
        2021,
        "2012.03816",
    ),
    "input_aware": Paper(
        "Input-Aware Dynamic Backdoor Attack", ("Nguyen", "Tran"), 2020, "2010.08138"
    ),
    "lira": Paper(
        "LIRA: Learnable, Imperceptible and Robust Backdoor Attacks",
        ("Doan", "Lao", "Zhao", "Li"),
        2021,
        venue="ICCV",
    ),
    "trojan": Paper(
        "Trojaning Attack on Neural Networks",
        ("Liu", "Ma", "Aafer", "Lee", "Zhai", "Wang", "Zhang"),
        2018,
        venue="NDSS",
    ),
    "tact": Paper(
        "Demon in the Variant: Statistical Analysis of DNNs for Robust Backdoor Contamination "
        "Detection",
        ("Tang", "Wang", "Tang", "Zhang"),
        2021,
        "1908.00686",
    ),
    "adaptive_blend": Paper(
        "Revisiting the Assumption of Latent Separability for Backdoor Defenses",
        ("Qi", "Xie", "Li", "Mahloujifar", "Mittal"),
        2023,
        "2205.13613",
    ),
    "composite": Paper(
        "Composite Backdoor Attack for Deep Neural Network by Mixing Existing Benign Features",
        ("Lin", "Xu", "Liu", "Zhang"),
        2020,
        venue="CCS",
    ),
    "feature_space": Paper(
        "Deep Feature Space Trojan Attack of Neural Networks by Controlled Detoxification",
        ("Cheng", "Liu", "Ma", "Zhang"),
        2021,
        "2012.11212",
    ),
    # ---- defenses
    "ngf": Paper(
        "Efficient Backdoor Removal Through Natural Gradient Fine-tuning",
        ("Karim", "others"),
        2023,
        "2306.17441",
    ),
    "kfac": Paper(
        "Optimizing Neural Networks with Kronecker-factored Approximate Curvature",
        ("Martens", "Grosse"),
        2015,
        "1503.05671",
    ),
    "adam": Paper(
        "Adam: A Method for Stochastic Optimization", ("Kingma", "Ba"), 2015, "1412.6980"
    ),
    "fine_pruning": Paper(
        "Fine-Pruning: Defending Against Backdooring Attacks on Deep Neural Networks",
        ("Liu", "others"),
        2018,
        "1805.12185",
    ),
    "super_ft": Paper(
        "Fine-Tuning Is All You Need to Mitigate Backdoor Attacks",
        ("Sha", "others"),
        2022,
        "2212.09067",
    ),
    "fst": Paper(
        "Towards Stable Backdoor Purification through Feature Shift Tuning",
        ("Min", "others"),
        2023,
        "2310.01875",
    ),
    "ft_sam": Paper(
        "Enhancing Fine-Tuning Based Backdoor Defense with Sharpness-Aware Minimization",
        ("Zhu", "others"),
        2023,
        "2304.11823",
    ),
    "fip": Paper(
        "Fisher Information guided Purification against Backdoor Attacks",
        ("Karim", "others"),
        2024,
        "2409.00863",
    ),
    "nft": Paper(
        "Augmented Neural Fine-Tuning for Efficient Backdoor Purification",
        ("Karim", "others"),
        2024,
        "2407.10052",
    ),
    "i_bau": Paper(
        "Adversarial Unlearning of Backdoors via Implicit Hypergradient",
        ("Zeng", "others"),
        2022,
        "2110.03735",
    ),
    "neural_cleanse": Paper(
        "Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural Networks",
        ("Wang", "others"),
        2019,
        venue="IEEE Symposium on Security and Privacy",
    ),
    "sau": Paper(
        "Shared Adversarial Unlearning: Backdoor Mitigation by Unlearning Shared Adversarial "
        "Examples",
        ("Wei", "others"),
        2023,
        "2307.10562",
    ),
    "bti_dbf": Paper(
        "Towards Reliable and Efficient Backdoor Trigger Inversion via Decoupling Benign Features",
        ("Xu", "others"),
        2024,
        venue="ICLR",
    ),
    "pam": Paper(
        "Uncovering, Explaining, and Mitigating the Superficial Safety of Backdoor Defense",
        ("Min", "others"),
        2024,
        "2410.09838",
    ),
    "mixup": Paper(
        "mixup: Beyond Empirical Risk Minimization", ("Zhang", "others"), 2018, "1710.09412"
    ),
    "nad": Paper(
        "Neural Attention Distillation: Erasing Backdoor Triggers from Deep Neural Networks",
        ("Li", "others"),
        2021,
        "2101.05930",
    ),
    "mcr": Paper(
        "Bridging Mode Connectivity in Loss Landscapes and Adversarial Robustness",
        ("Zhao", "others"),
        2020,
        "2005.00060",
    ),
    "anp": Paper(
        "Adversarial Neuron Pruning Purifies Backdoored Deep Models",
        ("Wu", "Wang"),
        2021,
        "2110.14430",
    ),
    "clp": Paper(
        "Data-free Backdoor Removal based on Channel Lipschitzness",
        ("Zheng", "others"),
        2022,
        "2208.03111",
    ),
    "rnp": Paper(
        "Reconstructive Neuron Pruning for Backdoor Defense",
        ("Li", "others"),
        2023,
        "2305.14876",
    ),
    "awm": Paper(
        "One-shot Neural Backdoor Erasing via Adversarial Weight Masking",
        ("Chai", "Chen"),
        2022,
        "2207.04497",
    ),
    "tsbd": Paper(
        "Unveiling and Mitigating Backdoor Vulnerabilities based on Unlearning Weight Changes and "
        "Backdoor Activeness",
        ("Lin", "others"),
        2024,
        "2405.20291",
    ),
    "npd": Paper(
        "Neural Polarizer: A Lightweight and Effective Backdoor Defense via Purifying Poisoned "
        "Features",
        ("Zhu", "others"),
        2023,
        "2306.16697",
    ),
    # ---- measurements
    "filter_normalization": Paper(
        "Visualizing the Loss Landscape of Neural Nets", ("Li", "others"), 2018, "1712.09913"
    ),
    "mode_connectivity": Paper(
        "Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs",
        ("Garipov", "others"),
        2018,
        "1802.10026",
    ),
    "linear_interpolation": Paper(
        "Qualitatively Characterizing Neural Network Optimization Problems",
        ("Goodfellow", "Vinyals", "Saxe"),
        2015,
        "1412.6544",
    ),
    "hessian_density": Paper(
        "An Investigation into Neural Net Optimization via Hessian Eigenvalue Density",
        ("Ghorbani", "Krishnan", "Xiao"),
        2019,
        "1901.10159",
    ),
    "pyhessian": Paper(
        "PyHessian: Neural Networks Through the Lens of the Hessian",
        ("Yao", "others"),
        2020,
        "1912.07145",
    ),
    "hutchpp": Paper(
        "Hutch++: Optimal Stochastic Trace Estimation", ("Meyer", "others"), 2021, "2010.09649"
    ),
    "sophia": Paper(
        "Sophia: A Scalable Stochastic Second-order Optimizer for Language Model Pre-training",
        ("Liu", "others"),
        2023,
        "2305.14342",
    ),
    "empirical_fisher": Paper(
        "Limitations of the Empirical Fisher Approximation for Natural Gradient Descent",
        ("Kunstner", "others"),
        2019,
        "1905.12558",
    ),
    "fisher_statistics": Paper(
        "Universal Statistics of Fisher Information in Deep Neural Networks: Mean Field Approach",
        ("Karakida", "Akaho", "Amari"),
        2019,
        "1806.01316",
    ),
    "sharp_minima": Paper(
        "Sharp Minima Can Generalize For Deep Nets", ("Dinh", "others"), 2017, "1703.04933"
    ),
    "asam": Paper(
        "ASAM: Adaptive Sharpness-Aware Minimization for Scale-Invariant Learning of Deep Neural "
        "Networks",
        ("Kwon", "others"),
        2021,
        "2102.11600",
    ),
    "normalized_minima": Paper(
        "Normalized Flat Minima: Exploring Scale Invariant Definition of Flat Minima for Neural "
        "Networks using PAC-Bayesian Analysis",
        ("Tsuzuku", "others"),
        2020,
        "1901.04653",
    ),
    "fisher_rao": Paper(
        "Fisher-Rao Metric, Geometry, and Complexity of Neural Networks",
        ("Liang", "others"),
        2019,
        "1711.01530",
    ),
    "relative_flatness": Paper(
        "Relative Flatness and Generalization", ("Petzka", "others"), 2021, "2001.00939"
    ),
    "sharpness_disputed": Paper(
        "A Modern Look at the Relationship between Sharpness and Generalization",
        ("Andriushchenko", "others"),
        2023,
        "2302.07011",
    ),
    "break_even": Paper(
        "The Break-Even Point on Optimization Trajectories of Deep Neural Networks",
        ("Jastrzebski", "others"),
        2020,
        "2002.09572",
    ),
    "cure": Paper(
        "Robustness via Curvature Regularization, and Vice Versa",
        ("Moosavi-Dezfooli", "others"),
        2019,
        "1811.09716",
    ),
}
# plug-in -> keys of `PAPERS`, where not its own name alone; none: it is ours, or a textbook's
ATTACKS: Mapping[str, tuple[str, ...]] = {"none": (), "drawn": ("badnets",)}
DEFENSES: Mapping[str, tuple[str, ...]] = {
    "ngf": ("ngf", "kfac"),
    "ngf_as_released": ("ngf",),
    "gradient_kl": (),
    "sgd": (),
    "ft_init": ("fst",),
    "fe_tuning": ("fst",),
    "ft_sam": ("ft_sam", "asam"),
    "fip_as_released": ("fip",),
    "nft": ("nft", "mixup"),
    "mcr": ("mcr", "mode_connectivity"),
}
MEASUREMENTS: Mapping[str, tuple[str, ...]] = {
    "loss_slice": ("filter_normalization",),
    "loss_plane": ("filter_normalization", "mode_connectivity"),
    "loss_line": ("linear_interpolation",),
    "loss_bend": ("mode_connectivity",),
    "hessian_spectrum": ("hessian_density", "pyhessian", "hutchpp"),
    "fisher_trace": ("sophia", "empirical_fisher"),
    "fisher_spectrum": ("fisher_statistics",),
    "sharpness": (
        "sharp_minima",
        "filter_normalization",
        "asam",
        "normalized_minima",
        "fisher_rao",
        "relative_flatness",
        "sharpness_disputed",
    ),
    "rescaling": ("sharp_minima",),
    "pyhessian_check": ("pyhessian",),
    "batch_eigenvalue": ("break_even",),
    "input_curvature": ("cure",),
    "reactivation": ("pam",),
    "yardstick": ("neural_cleanse",),
}


def keys_of(spec: Spec) -> list[str]:
    """Keys of the papers of what a specification asks for, without its ancestors."""
    if isinstance(spec, TrainSpec):
        return _keys([spec.attack.name], ATTACKS)
    if isinstance(spec, PurifySpec):
        return _keys([lane.name for lane in spec.lanes], DEFENSES)
    assert isinstance(spec, MeasureSpec)
    return list(MEASUREMENTS.get(spec.measurement.name, ()))


def _keys(names: Iterable[str], known: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Of a plug-in that nobody has listed: none."""
    listed = [known.get(name, (name,)) for name in names]
    return list(dict.fromkeys(key for keys in listed for key in keys if key in PAPERS))


def keys_behind(run: Run, more: Iterable[Run] = ()) -> list[str]:
    """Of a run and all that it starts from, and of the runs `more`; NGF first, for it is what this
    program is about.
    """
    keys = ["ngf"]
    for one in (run, *more):
        step: Run | None = one
        while step is not None:
            keys += keys_of(step.spec)
            step = step.ancestor()
    return list(dict.fromkeys(keys))


def bibtex(run: Run, more: Iterable[Run] = ()) -> str:
    """A .bib file of the methods behind a run."""
    state = f" % {PARTIAL}: the run is {run.status}" if about(run)[PARTIAL] else ""
    head = (
        f"% Methods behind {run.id}{state}\n"
        "% Names, years and arXiv numbers as in the documentation of the program; add given names "
        "and venues as your style asks for.\n"
    )
    entries = [PAPERS[key].bibtex(key) for key in keys_behind(run, more)]
    return head + "\n" + "\n\n".join(entries) + "\n"
