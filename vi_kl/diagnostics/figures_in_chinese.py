"""What is printed beside the figures of a certificate, in Chinese: how each was found, its unit, and its limits.

Such words are made in English, with the figures in them, by the many parts that compute figures. Here stand the
patterns of those that certificates print, with fields for the figures; what has no pattern remains English.
"""

import functools
import re

from vi_kl.core.languages import LANGUAGE

UNITS = {"nats": "奈特", "nat": "奈特", "bits": "比特", "bit": "比特"}
PATTERNS = {
    # titles of lines
    "log evidence": "对数证据",
    "KL(q||post.)": "KL(q||后验)",
    "KL(post.||q)": "KL(后验||q)",
    "short chains": "短链",
    "transport": "输运距离",
    "cost": "代价",
    # lines
    "{name}, {label}: KL(q||posterior) {kl}": "{name}，{label}：KL(q||后验) {kl}",
    "{value} {unit} ({method})": "{value} {unit}（{method}）",
    "at least {value} {unit}, with {level}% confidence": "至少 {value} {unit}，置信度 {level}%",
    "between {lower} and {upper} {unit}, with {level}% confidence": "在 {lower} 与 {upper} {unit}之间，置信度 {level}%",
    "{k_hat}, {share}% of the draws": "{k_hat}，样本的 {share}%",
    "{gradients} gradients and {densities} densities": "{gradients} 个梯度和 {densities} 个密度",
    "{number} of {moves} moves, {gradients} gradients": "{number} 条，每条 {moves} 步，{gradients} 个梯度",
    "{value} posterior sd (two samples of {points} posterior draws: {floor})": (
        "{value} 个后验标准差（两组各 {points} 个后验样本之间：{floor}）"
    ),
    "flat": "持平",
    "exact": "精确",
    "certified": "已证实",
    "estimated": "估计",
    "unknown": "未知",
    "not known": "未知",
    # ways to find a figure
    "closed form": "解析解",
    "closed form, found and verified numerically": "解析解，由数值找到并核对",
    "the posterior's closed form": "后验的解析解",
    "the normalised posterior": "归一化的后验",
    "log evidence - ELBO": "对数证据 - ELBO",
    "ELBO, and weights of {draws} draws of wider densities": "ELBO，以及更宽的密度的 {draws} 个样本的权重",
    "weights of {draws} draws of q and of wider densities": "q 和更宽的密度的 {draws} 个样本的权重",
    "importance weights of {draws} draws of q": "q 的 {draws} 个样本的重要性权重",
    "quadrature over q against {method}, {nodes} nodes": "对 q 的数值积分，与{method}相比，{nodes} 个节点",
    "quadrature, {nodes} nodes": "数值积分，{nodes} 个节点",
    "quadrature, {nodes} nodes around {modes} modes": "数值积分，{modes} 个峰周围的 {nodes} 个节点",
    "Monte Carlo, {draws} draws of q": "蒙特卡洛，q 的 {draws} 个样本",
    "Monte Carlo against the posterior's closed form": "蒙特卡洛，与后验的解析解相比",
    "no better member was found, by {method}": "没有找到更好的成员，依据{method}",
    "paired ELBOs on {draws} draws of noise": "同一组噪声的 {draws} 个样本上的 ELBO 之差",
    "Monte Carlo, {draws} draws of noise": "蒙特卡洛，噪声的 {draws} 个样本",
    "Monte Carlo, {draws} exact posterior draws": "蒙特卡洛，{draws} 个精确的后验样本",
    "Monte Carlo, {draws} draws of {chains} reference chains": "蒙特卡洛，{chains} 条参考链的 {draws} 个样本",
}


def in_figures(printed: object) -> str:
    """Return what is printed beside a figure in the language of the context; what has no Chinese remains English."""
    text = str(printed)
    if LANGUAGE.get() == "en":
        return text
    for pattern, chinese in PATTERNS.items():
        found = expression(pattern).fullmatch(text)
        if found:
            return chinese.format(**{name: in_figures(part) for name, part in found.groupdict().items()})
    return UNITS.get(text, text)


@functools.cache
def expression(pattern: str) -> re.Pattern:
    """Return the regular expression that a pattern stands for; a field is as short as it can be."""
    parts = re.split(r"\{(\w+)\}", pattern)
    fields = [f"(?P<{name}>{'|'.join(UNITS) if name == 'unit' else '.+?'})" for name in parts[1::2]]
    return re.compile("".join(re.escape(text) + field for text, field in zip(parts[::2], [*fields, ""], strict=True)))
