"""What a record of rows' evidence says, in the language that is spoken: each sentence, and the same in Chinese."""

from vi_kl.core.languages import in_context

CHINESE = {
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
}


def say(sentence: str, /, **figures) -> str:
    """Return a sentence in the language of the context, with figures in its fields."""
    return in_context(sentence, CHINESE, figures)
