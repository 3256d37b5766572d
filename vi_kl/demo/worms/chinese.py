"""The story in Chinese: each sentence that `say` is given, and the same in Chinese, with the same fields."""

CHINESE = {
    # units and names
    "bits": "比特",
    "nats": "奈特",
    "1 bit": "1 比特",
    "uniform": "均匀分布",
    "binomial": "二项分布",
    "blocks": "两块模型",
    "Binomial": "二项分布",
    "Two blocks": "两块模型",
    "Free histogram": "自由直方图",
    "Beta-binomial": "贝塔-二项分布",
    "Two kinds of worms": "两种虫子",
    # the page
    "The worm teeth: from a histogram to a checked posterior": "虫牙的故事：从直方图到经过检验的后验",
    "Scientists on a far planet have counted the teeth of 1,000 worms, and every bit to Earth is dear. One quantity "
    "runs through the whole story: the bits on the line. KL says how many a stand-in costs; minimised, it finds the "
    "best stand-in; and what an approximate posterior adds to the code length is exactly KL(q||posterior).": (
        "遥远星球上的科学家数了 1000 条虫子的牙齿，而发往地球的每一比特都很贵。贯穿整个故事的是同一个量：线路上的"
        "比特数。KL 散度说出用替代分布要多花多少比特；把它最小化，就找到最好的替代分布；近似后验给"
        "编码长度增加的，恰好是 KL(q||后验)。表格的列名和证书里的判断由程序用英文写出。"
    ),
    "What a stand-in costs": "替代分布的代价",
    "The histogram takes eleven numbers; a simple distribution takes one or none. Coding the worms with "
    "the wrong distribution q costs KL(observed || q) more per worm than the entropy. Minimising that cost "
    "is how the best simple distribution is found.": (
        "直方图要十一个数来描述，简单的分布只要一个，甚至一个也不要。用错误的分布 q 给虫子编码，每条虫子比熵多花 "
        "KL(观测 || q)。把这个代价最小化，就找到最好的简单分布。"
    ),
    "The code lengths": "编码长度",
    "What 1,000 worms cost to send, model by model, and what each approximation adds.": (
        "发送 1000 条虫子，各个模型要花多少，每种近似又增加多少。"
    ),
    "{description} Its code length: {price} {unit} ({method}).": "{description}编码长度：{price} {unit}（{method}）。",
    "Ten places for a tooth, each filled with the same probability p.": "十个牙位，每个以同样的概率 p 长牙。",
    'The article\'s "ad hoc" model: mass p spread evenly over 6 to 10 teeth, the rest over 0 to 5.': (
        "文章里的“特设”模型：概率 p 均匀分给 6 到 10 颗牙，其余均匀分给 0 到 5 颗。"
    ),
    "A free probability for each number of teeth.": "每种牙数各有一个自由的概率。",
    "Every worm has a tooth probability of its own, from a Beta with this mean and concentration.": (
        "每条虫子有自己的长牙概率，来自给定均值和集中度的贝塔分布。"
    ),
    "Two kinds of worms, each binomial. The labels are free, so the posterior has two symmetric modes.": (
        "两种虫子，各服从二项分布。哪种叫第一种是任意的，所以后验有两个对称的峰。"
    ),
    # the terminal
    "1. What a stand-in costs": "1. 替代分布的代价",
    "2. The same thought with a posterior": "2. 同样的道理，换成后验",
    "3. The code lengths": "3. 编码长度",
    "Fitting and checking": "拟合与检验",
    "The article's figures": "文章里的数值",
    "figure": "数值",
    "article": "文章",
    "here": "这里",
    "unit": "单位",
    "A figure that the article prints.": "文章里给出的一个数。",
    "Its value in the article.": "文章里的值。",
    "Its value as computed here, with a digit more.": "这里算出的值，多一位小数。",
    "The unit of both; none for a probability.": "两者的单位；概率没有单位。",
    "Whether the two agree.": "两者是否一致。",
    "The article counts in bits; one bit is 0.693 nats.": "文章以比特计；一比特等于 0.693 奈特。",
    "entropy of the observed distribution": "观测分布的熵",
    "KL(observed || uniform)": "KL(观测 || 均匀分布)",
    "KL(observed || binomial), p = mean/10": "KL(观测 || 二项分布)，p = 均值/10",
    "KL(binomial || observed)": "KL(二项分布 || 观测)",
    "p that minimises KL(observed || binomial)": "使 KL(观测 || 二项分布) 最小的 p",
    "block model: best p": "两块模型：最好的 p",
    "block model: its KL": "两块模型：它的 KL",
    "Sending the 1,000 counts with a model costs -{log} evidence {unit}. With an approximate posterior q it "
    "costs -ELBO {unit} (bits-back coding). The difference is exactly KL(q||posterior) in {unit}.": (
        "用一个模型发送这 1000 个计数，要 -{log} 证据 {unit}。用近似后验 q 则要 -ELBO {unit}（比特返还编码）。"
        "两者之差恰好是以{unit}计的 KL(q||后验)。"
    ),
    "{price} {unit} for 1,000 worms ({method})": "1000 条虫子要 {price} {unit}（{method}）",
    "What happened: {names} cover one of the posterior's two mirror images, {share} of its mass. Reverse KL "
    "charges log 2 = {price} for the missing half, however far away it is; the best of them is at {best}, so it "
    "is {from_mode} from the mode it has found. Sending the worms with it costs that one bit: the name of the mode.": (
        "发生了什么：{names} 只盖住后验两个镜像中的一个，占 {share} 的概率。漏掉的那一半不管有多远，反向 KL 都只收 "
        "log 2 = {price}；其中最好的是 {best}，所以它离自己找到的那个峰 {from_mode}。用它发送虫子要多花的就是那一比特："
        "说出是哪一个峰。"
    ),
    "{unit} to send 1,000 worms": "发送 1000 条虫子所需的{unit}",
    "no model, all counts equally likely": "没有模型，每种牙数同样可能",
    "1,000 x entropy: histogram known already": "1000 × 熵：已经知道直方图",
    "with": "用什么",
    "the exact posterior": "精确后验",
    "the best q adds": "最好的 q 增加",
    "What the worms are sent with.": "用什么发送虫子。",
    "What that costs for 1,000 worms, in {unit}: with a model, −log evidence.": (
        "1000 条虫子的花费，以{unit}计：用模型时是 −log 证据。"
    ),
    "What the best of the approximations adds, in {unit}: KL(q||p). Its name follows.": (
        "最好的近似增加多少，以{unit}计：KL(q||p)。后面是它的名字。"
    ),
    "Seconds: {importing} importing, {work} computing and drawing (compiling took {compiling}, summed over "
    "threads); {total} in all.": (
        "秒数：导入 {importing}，计算与作图 {work}（其中编译 {compiling}，各线程合计）；共 {total}。"
    ),
    "Report: {page}   figures: {figures}   numbers: {numbers}": "报告：{page}   图：{figures}   数值：{numbers}",
    # the figures
    "observed worms": "观测到的虫子",
    "number of teeth": "牙齿数",
    "fraction of worms": "虫子的比例",
    "probability": "概率",
    "A histogram and cheaper stand-ins": "直方图与更便宜的替代分布",
    "The worms' teeth, and three distributions that are cheaper to send. KL(observed || q) is what each costs "
    "per worm, in {unit}, beyond the entropy of the observed distribution. The one-parameter binomial has the "
    "right mean and the wrong shape: it is worse than the uniform distribution, which has no parameter at all.": (
        "虫子的牙齿数，以及三个发送起来更便宜的分布。KL(观测 || q) 是每条虫子在观测分布的熵之外多花的{unit}数。只有一个"
        "参数的二项分布均值正确，形状却不对：它还不如没有参数的均匀分布。"
    ),
    "KL(observed || q) [{unit} per worm]": "KL(观测 || q) [每条虫子的{unit}数]",
    "KL as the objective": "KL 散度作为目标函数",
    "Each value of p is one candidate distribution, and the lowest point of its curve is the best of them. Nothing "
    "was fitted by eye; the minima are where the gradient vanishes.": (
        "p 的每个值是一个候选分布，曲线的最低点就是其中最好的。没有一处是凭眼睛拟合的：最小值在梯度为零的地方。"
    ),
    "forward KL(observed || q)": "正向 KL(观测 || q)",
    "reverse KL(q || observed)": "反向 KL(q || 观测)",
    "The two best binomials": "两个最好的二项分布",
    "The two objectives": "两个目标函数",
    "The two directions": "两个方向",
    "The divergence is not a distance: it depends on the direction. Forward KL pays where worms are and q is "
    "not, so it matches the mean of all of them. Reverse KL pays where q is and worms are not, so it leans to "
    "where the most worms are. Variational inference minimises the reverse one, because it needs averages "
    "under q only.": (
        "散度不是距离，它与方向有关。正向 KL 在有虫子而 q 不在的地方收费，所以它的均值与全体虫子相同。反向 KL 在 q 在而"
        "没有虫子的地方收费，所以它偏向虫子最多的地方。变分推断最小化的是反向的那一个，因为它只需要对 q 求平均。"
    ),
    "log evidence − ELBO [{unit}]": "对数证据 − ELBO [{unit}]",
    "Descending to the evidence": "逐步降到证据",
    "How far below the log evidence each ELBO is, iteration by iteration. That distance is KL(q||posterior), the "
    "{unit} that the data cost beyond the model's own price. Guides and flows follow stochastic gradients, "
    "for hundreds of steps. The normals start at the mode, and fixed draws tell a quasi-Newton method the rest: a "
    "few iterations, marked by dots, or none at all. A trace that has come to a level has reached its family's "
    "best; for the two kinds of worms that level is log 2, which no more steps will bring down.": (
        "每次迭代后，ELBO 比对数证据低多少。这个差就是 KL(q||后验)，即数据在模型自己的价格之外多花的{unit}数。"
        "guide 和流沿随机梯度走几百步。正态分布从众数出发，其余由固定的样本告诉拟牛顿法：只要几次迭代（画成圆点），"
        "甚至不用迭代。走平了的曲线已达到该分布族的最好水平；对两种虫子的模型，这个水平是 log 2，再走多少步也降不下去。"
    ),
    "{title}: the posterior and every q": "{title}：后验与每一个 q",
    "exact posterior": "精确后验",
    "reverse KL: full rank": "反向 KL：满秩正态",
    "forward KL: same moments": "正向 KL：矩相同",
    "Two modes, one q": "两个峰，一个 q",
    "Which kind is called the first is arbitrary, so the exact posterior has two mirror images. Reverse KL settles "
    "on one and pays log 2 nats, one bit: the price of saying which. The normal that is best in the forward "
    "direction has the posterior's own mean and covariance; it covers both, and puts most of its mass where no "
    "worms are.": (
        "哪一种虫子叫第一种是任意的，所以精确后验有两个镜像。反向 KL 停在一个上，付 log 2 奈特，即一比特：说出是哪一个"
        "的价钱。正向意义下最好的正态与后验有同样的均值和协方差；它盖住两个峰，而大部分概率落在没有虫子的地方。"
    ),
    "{unit} for all 1,000 worms: −log evidence": "全部 1000 条虫子的{unit}数：−log 证据",
    "{unit} on top for using q: KL(q||posterior)": "改用 q 多花的{unit}数：KL(q||后验)",
    "Code lengths": "编码长度",
    "The price of sending all 1,000 counts. Left: what each model charges with its exact posterior. The solid "
    "line is 1,000 times the entropy ({entropy} {unit}), which only someone who already has the histogram "
    "could pay; the dotted line is no model at all ({uniform} {unit}). Right: what each approximation adds, "
    "with its 95% interval, on a log scale; a dot at the left edge adds nothing that can be measured.": (
        "发送全部 1000 个计数的价格。左：每个模型用精确后验时的花费。实线是熵的 1000 倍（{entropy} {unit}），只有已经"
        "知道直方图的人才付得起；虚线是没有模型（{uniform} {unit}）。右：每种近似增加多少，连同 95% 区间，对数刻度；"
        "在左边缘的点没有增加任何量得出来的东西。"
    ),
}
