"""The words that figures write by themselves, in the language of their style: `style("zh")` makes them Chinese.

Those of the figures that the Chinese story and pages show are here; names of methods and sites stay as they are.
"""

from vi_kl.core.languages import in_context

CHINESE = {
    "bits": "比特",
    "nats": "奈特",
    "iteration": "迭代次数",
    "−ELBO [{unit}]": "−ELBO [{unit}]",
    "log evidence − ELBO [{unit}]": "对数证据 − ELBO [{unit}]",
    "exact posterior": "精确后验",
    "reference run": "参考抽样",
    "{known} ±1 sd": "{known} ±1 个标准差",
    "posterior sd from the exact mean": "与精确均值之差 [后验标准差]",
    "sd from the {known}'s mean": "与{known}均值之差 [标准差]",
    "The exact posterior in grey, and each approximation over it, in the model's own units.": (
        "灰色是精确后验，上面是每一种近似，单位与模型相同。"
    ),
    "Each approximation in the model's own units. The posterior is not known: grey is the best q.": (
        "每一种近似，单位与模型相同。后验未知：灰色是最好的 q。"
    ),
    "The reference run in grey, and each approximation over it, in the model's own units.": (
        "灰色是参考抽样，上面是每一种近似，单位与模型相同。"
    ),
    "{number} more sites are not shown.": "还有 {number} 个位点没有画出。",
}


def say(sentence: str, /, **figures) -> str:
    """Return a sentence in the language of the context, with figures in its fields."""
    return in_context(sentence, CHINESE, figures)


def name_of(known: str) -> str:
    """Return what a posterior is called in the language of the context; names of methods are the same in all."""
    return say(known) if known in CHINESE else known
