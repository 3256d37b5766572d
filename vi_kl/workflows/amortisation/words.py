"""What records of an encoder's rows say, in the language that is spoken: each sentence, and the same in Chinese."""

from vi_kl.core.languages import in_context

CHINESE = {
    # the evidence of rows
    "Log evidence of {rows} rows, with the encoder {name}": "{rows} 行数据的对数证据，编码器是 {name}",
    "  in all  {total} nats (importance sampling, {draws} draws for each of {rows} rows)": (
        "  合计  {total} 奈特（重要性抽样，每行 {draws} 个样本，共 {rows} 行）"
    ),
    "          at least {lower} nats, with {confidence}% confidence": "        至少 {lower} 奈特，置信度 {confidence}%",
    "  a row   {mean} nats on average; k-hat is above {limit} for {uneven} of {rows} rows": (
        "  每行  平均 {mean} 奈特；{rows} 行中有 {uneven} 行的 k-hat 高于 {limit}"
    ),
    "It cannot see: a mode of a row's posterior that neither q nor the wider draws visit, which would make "
    "the evidence larger; and how uncertain the model's parameters are.": (
        "看不见的：某一行的后验里 q 和更宽的样本都没有到过的峰，有的话证据会更大；以及模型的参数有多不确定。"
    ),
    # what an encoder loses
    "Amortisation of {name} on {number} rows, {looked_at} of them one by one": (
        "{name} 在 {number} 行数据上的摊销，其中 {looked_at} 行逐行检查"
    ),
    "  ELBO of all rows   {elbo} nats (Monte Carlo, {draws} draws of q for each of {number} rows)": (
        "  各行合计的 ELBO  {elbo} 奈特（蒙特卡洛，{number} 行中每行 q 的 {draws} 个样本）"
    ),
    "  approximation gap  {gap}, a row": "  近似差距         每行 {gap}",
    "  amortisation gap   {gap}, a row": "  摊销差距         每行 {gap}",
    "{gap} nats (mean of {looked_at} rows)": "{gap} 奈特（{looked_at} 行的平均）",
    "unknown": "未知",
    "row": "行",
    "log evidence": "对数证据",
    "best ELBO": "最好的 ELBO",
    "encoder's ELBO": "编码器的 ELBO",
    "approximation gap": "近似差距",
    "amortisation gap": "摊销差距",
    "± se": "± 标准误",
    "k-hat": "k-hat",
    "It cannot see: {words}": "看不见的：{words}",
    "The encoder's q of a row is {lost} nats worse than the best one by {method} (amortisation gap), which is itself "
    "{family} nats from the posterior (approximation gap).": (
        "编码器给一行的 q，比由 {method} 得到的最好的 q 差 {lost} 奈特（摊销差距）；"
        "后者离后验还有 {family} 奈特（近似差距）。"
    ),
    "The encoder's q of a row is {lost} nats worse than the best one by {method} (amortisation gap); how far the best "
    "one is from the posterior is unknown for some rows.": (
        "编码器给一行的 q，比由 {method} 得到的最好的 q 差 {lost} 奈特（摊销差距）；对有些行，后者离后验多远还不知道。"
    ),
    " Neither is worth a remedy.": "两者都不值得再改。",
    " A larger encoder, more steps, or a smaller step size at their end may bring it nearer.": (
        "更大的编码器、更多的步数，或者在最后用更小的步长，也许能使它更近。"
    ),
    " A richer distribution in the guide (a full covariance, a flow) may bring it nearer.": (
        "在 guide 里用更丰富的分布（完整的协方差、流）也许能使它更近。"
    ),
    "The gaps of the other {number} rows; a mode of a row's posterior that neither q visits; and how uncertain the "
    "model's parameters are, at whose values all this is.": (
        "其余 {number} 行的差距；某一行的后验里两个 q 都没有到过的峰；"
        "以及模型的参数有多不确定：这些都是在它们的取值处算的。"
    ),
    " The search for the best q did not converge for {missed} row(s): their amortisation gap is larger.": (
        "有 {missed} 行没有收敛到最好的 q：它们的摊销差距其实更大。"
    ),
}


def say(sentence: str, /, **figures) -> str:
    """Return a sentence in the language of the context, with figures in its fields."""
    return in_context(sentence, CHINESE, figures)
