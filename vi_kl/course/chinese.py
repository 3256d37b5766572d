"""The course in Chinese: each sentence that it says, and the same in Chinese, with the same fields."""

CHINESE = {
    # of every answer
    "Right.": "对了。",
    "Not yet.": "还不对。",
    "A number is asked for, and this is of type {kind}.": "这里要的是一个数，而给出的是 {kind} 类型。",
    "One finite number is asked for.": "这里要的是一个有限的数。",
    "Its size is right, its sign is not.": "大小对了，符号不对。",
    "It is too large.": "太大了。",
    "It is too small.": "太小了。",
    "Choose one of {options}.": "请在 {options} 中选一个。",
    "A list of {size} probabilities is asked for.": "这里要的是一个含 {size} 个概率的列表。",
    "{size} probabilities are asked for, and this has the shape {shape}.": (
        "这里要的是 {size} 个概率，而给出的形状是 {shape}。"
    ),
    "A probability is never negative.": "概率不会是负数。",
    "They add up to {total}, and probabilities add up to 1.": "它们加起来是 {total}，而概率之和应当是 1。",
    "They add up to 1, but those at the places {places} (from 0 on) are wrong.": (
        "它们加起来是 1，但第 {places} 个（从 0 数起）不对。"
    ),
    "A numpyro.distributions.{kind} is asked for, not a {other}.": (
        "这里要的是 numpyro.distributions.{kind}，而不是 {other}。"
    ),
    "One distribution of one number is asked for.": "这里要的是一个数的一个分布。",
    "Its mean is not right.": "它的均值不对。",
    "Its variance is not right.": "它的方差不对。",
    "Its mean and its variance are not right.": "它的均值和方差都不对。",
    "It is right in nats, and the question asks for bits.": "以奈特计是对的，而题目要的是比特。",
    "It is right in bits, and the question asks for nats.": "以比特计是对的，而题目要的是奈特。",
    # 1. KL is a price
    "KL is a price": "KL 散度是一个价格",
    "compute entropy, cross-entropy and KL of a few probabilities, in bits and in nats": (
        "用比特和奈特计算几个概率的熵、交叉熵和 KL 散度"
    ),
    "say what KL costs, and whom": "说出 KL 散度是什么的代价，由谁来付",
    "know what zeros do to it, and what smoothing does to zeros": "知道零对它有什么影响，平滑又怎样处理零",
    "Four kinds of worms have probabilities 0.4, 0.3, 0.2 and 0.1. How many bits does the best code take for a "
    "worm, on average?": "四种虫子的概率是 0.4、0.3、0.2 和 0.1。用最好的编码，平均每条虫子要多少比特？",
    "That is the entropy, and no code does better.": "这就是熵，没有哪种编码更好。",
    "That is what a code takes that holds all four equally probable.": "这是把四种虫子当成同样可能的编码所用的比特数。",
    "The same worms are sent by a code that was made for the probabilities 0.1, 0.2, 0.3 and 0.4. How many "
    "bits does it waste on a worm, on average?": (
        "同样的虫子，改用为概率 0.1、0.2、0.3 和 0.4 设计的编码来发送。平均每条虫子浪费多少比特？"
    ),
    "In this pair the other direction happens to cost the same; mostly it does not.": (
        "对这一对分布，另一个方向的代价恰好相同；一般并不相同。"
    ),
    "That is all that a worm costs by this code, the cross-entropy: how much is wasted?": (
        "这是用这种编码时每条虫子的全部花费，即交叉熵：其中浪费的是多少？"
    ),
    "A coin falls heads with probability 0.9, and your code takes it for fair. How many bits are wasted a throw?": (
        "一枚硬币正面朝上的概率是 0.9，而你的编码把它当成均匀的。每抛一次浪费多少比特？"
    ),
    "It is 1 bit less the entropy of the coin.": "它等于 1 比特减去这枚硬币的熵。",
    "That is the other direction: whose messages are sent, and whose code is used?": (
        "这是另一个方向：发送的是谁的消息，用的是谁的编码？"
    ),
    "That is the entropy of the coin.": "这是这枚硬币的熵。",
    # 2. From KL to the ELBO
    "From KL to the ELBO": "从 KL 散度到证据下界",
    "say which of evidence, ELBO and KL can be computed, and how they add up": (
        "说出证据、ELBO 和 KL 散度中哪些算得出来，三者怎样相加"
    ),
    "compute a posterior and an evidence by enumeration, and read an ELBO as a code length": (
        "用枚举法计算后验和证据，并把 ELBO 读作编码长度"
    ),
    "tell which ELBOs may be compared with each other": "判断哪些 ELBO 可以互相比较",
    "Of five worms three can swim. The chance of swimming has a uniform prior. What is the log evidence of "
    "'three of five', in nats?": (
        "五条虫子中有三条会游泳。会游泳的概率服从均匀先验。“五条中有三条”的对数证据是多少奈特？"
    ),
    "Every number from 0 to 5 is equally probable beforehand.": "事先看，从 0 到 5 每个数都同样可能。",
    "That is the evidence itself: its logarithm is asked for.": "这是证据本身：题目要的是它的对数。",
    "That is the largest likelihood, at the best chance; the evidence is an average over all of them.": (
        "这是似然的最大值，在最好的概率处取得；证据是对所有概率的平均。"
    ),
    "Three kinds of worm have prior probabilities 1/2, 1/4 and 1/4, and give what was seen with probabilities "
    "1/8, 1/2 and 1/4. What are the posterior probabilities?": (
        "三种虫子的先验概率是 1/2、1/4 和 1/4，产生所见数据的概率分别是 1/8、1/2 和 1/4。后验概率是多少？"
    ),
    "Prior times likelihood, divided by the evidence, which is 1/4.": "先验乘似然，再除以证据，这里证据是 1/4。",
    "That is prior times likelihood: divide by what it adds up to.": "这是先验乘似然：还要除以它们的和。",
    "That is the likelihood alone: where is the prior?": "这里只有似然：先验在哪里？",
    "The same worms, and q = (1/2, 1/4, 1/4), the prior. How many bits does sending the data cost on average, "
    "by bits-back coding with this q?": (
        "还是这些虫子，取 q = (1/2, 1/4, 1/4)，即先验。用这个 q 做比特返还编码，发送数据平均要多少比特？"
    ),
    "It is −ELBO: 2 bits for the evidence, and KL(q‖posterior) on top. The prior's bits come back whole.": (
        "这是 −ELBO：证据占 2 比特，再加上 KL(q‖后验)。先验用掉的比特全部返还。"
    ),
    "That is what the posterior would cost: how much does this q waste?": "这是用后验时的花费：这个 q 又浪费多少？",
    "That is the waste alone: the data cost something, too.": "这只是浪费的部分：数据本身也要花费。",
    "Two models of the same data were fitted. The ELBO of the first is −105 nats, that of the second −103. "
    'Which model has the larger evidence: "first", "second" or "unknown"?': (
        "对同一份数据拟合了两个模型。第一个的 ELBO 是 −105 奈特，第二个是 −103 奈特。哪个模型的证据更大："
        '第一个（"first"）、第二个（"second"），还是不知道（"unknown"）？'
    ),
    "Each ELBO is below its own evidence, by a gap of its own.": "每个 ELBO 都低于各自的证据，差多少也各不相同。",
    "Nothing says so: its ELBO is the lower one.": "没有依据：它的 ELBO 反而更低。",
    "Its lower bound is higher. Is its evidence?": "它的下界更高。它的证据也更高吗？",
    # 3. Many parameters
    "Many parameters": "许多参数",
    "add up the KL of independent parts": "把相互独立的各部分的 KL 散度相加",
    "know why a small error in each of many parameters is a large KL": ("知道为什么许多参数各错一点，KL 散度就会很大"),
    "count what a family of q costs in parameters": "数出一族 q 要用多少个参数",
    "The posterior is 200 independent standard normals, and q has each mean wrong by 0.1, all else right. What "
    "is KL(q‖posterior), in nats?": (
        "后验是 200 个相互独立的标准正态分布；q 的每个均值都差 0.1，其余都对。KL(q‖后验) 是多少奈特？"
    ),
    "KL adds up over independent parts: no mean is off by much, and q as a whole is far.": (
        "相互独立的部分，KL 散度相加：每个均值都差得不多，而 q 整体上离得很远。"
    ),
    "That is the KL of one of them.": "这是其中一个的 KL 散度。",
    "There is a factor of one half in the KL of two normals.": "两个正态分布的 KL 散度里有一个因子二分之一。",
    "The shift of a mean enters squared.": "均值的偏移要取平方。",
    "How many numbers describe a normal of 50 dimensions with any mean and any covariance?": (
        "一个 50 维的正态分布，均值和协方差都任意，要用多少个数来描述？"
    ),
    "Mean field takes 100: this is why it is where people begin.": "平均场只要 100 个：所以大家都从它开始。",
    "A covariance is symmetric: count each entry once.": "协方差矩阵是对称的：每个元素只数一次。",
    "The mean counts too.": "均值也要算进去。",
    "That is what independent normals take.": "这是相互独立的正态分布所用的个数。",
    # 4. Two directions
    "Two directions": "两个方向",
    "say for each direction where it charges q": "说出每个方向在哪里向 q 收费",
    "compute how much too narrow mean field is, and what a missing mode costs": (
        "计算平均场窄了多少，漏掉一个峰要付多少"
    ),
    "choose a direction for a purpose": "根据用途选择方向",
    "Two parameters of a normal posterior have sds of 1 and a correlation of 0.8. What is the sd of each "
    "parameter in the independent normals that are nearest by reverse KL?": (
        "正态后验的两个参数标准差都是 1，相关系数是 0.8。在反向 KL 意义下最近的独立正态分布里，每个参数的标准差是多少？"
    ),
    "It is the sd of one parameter when the other is known.": "它是已知另一个参数时，这个参数的标准差。",
    "That is the variance.": "这是方差。",
    "That is the nearest by forward KL.": "这是正向 KL 意义下最近的。",
    "The correlation enters squared.": "相关系数要取平方。",
    "A posterior has two humps far apart, with 70% and 30% of its mass. Reverse KL has settled on the smaller "
    "one. How many bits does q pay for that?": (
        "后验有两个相距很远的峰，分别占 70% 和 30% 的概率。反向 KL 停在较小的那个上。q 为此要付多少比特？"
    ),
    "It is minus the logarithm of the share that q covers, however far the other hump is away.": (
        "它等于 q 盖住的比例取对数再变号，与另一个峰有多远无关。"
    ),
    "That is the price of the larger hump.": "这是停在较大的峰上的价格。",
    "That is the price where both humps have one half.": "这是两个峰各占一半时的价格。",
    "p is 0.5 Normal(−2, 1) + 0.5 Normal(2, 1). Give the normal that is nearest to it by forward KL, as a "
    "numpyro.distributions.Normal.": (
        "p 是 0.5 Normal(−2, 1) + 0.5 Normal(2, 1)。请给出正向 KL 意义下离它最近的正态分布，"
        "写成 numpyro.distributions.Normal。"
    ),
    "It has p's mean and p's variance: that of a hump, and that between the humps.": (
        "它有 p 的均值和 p 的方差：峰内的方差，加上两峰之间的方差。"
    ),
    "That has the sd of one hump: how far apart are the humps?": "它的标准差是一个峰的：两个峰相距多远？",
    "The second number of a Normal is its sd, not its variance.": "Normal 的第二个数是标准差，不是方差。",
    "That is what reverse KL settles on.": "这是反向 KL 停下的地方。",
    "That is the variance between the humps alone.": "这里只有两峰之间的方差。",
    'q is wanted as a proposal for importance sampling. Which direction should it minimise: "forward" or "reverse"?': (
        '要用 q 作重要性抽样的提议分布。它应当最小化哪个方向：正向（"forward"）还是反向（"reverse"）？'
    ),
    "Where p is and the proposal is not, weights explode, and forward KL charges for just that.": (
        "在 p 有概率而提议分布没有的地方，权重会爆炸，而正向 KL 收费的正是这些地方。"
    ),
    "It lets q leave out parts of p. What happens to the weights there?": (
        "它允许 q 漏掉 p 的一部分。那里的权重会怎样？"
    ),
    # 5. Monte Carlo or VI?
    "Monte Carlo or VI?": "蒙特卡洛还是变分推断？",
    "say how the error of draws falls with their number, and how that of a q does not": (
        "说出抽样的误差怎样随样本数下降，而 q 的误差为什么不会"
    ),
    "compute the effective number of weighted draws": "计算加权样本的有效样本量",
    "combine both: importance weights on draws of q": "把两者结合起来：给 q 的样本加上重要性权重",
    "1,000 independent draws give a mean to ± 0.06. How many draws give it to ± 0.02?": (
        "1000 个独立样本给出的均值误差是 ± 0.06。要多少个样本，误差才是 ± 0.02？"
    ),
    "A third of the error takes nine times the draws.": "误差降到三分之一，要九倍的样本。",
    "The error falls with the root of the number of draws.": "误差随样本数的平方根下降。",
    "Four draws of q have importance weights 4, 2, 1 and 1. How many equally weighted draws are they worth, by "
    "the usual formula for the effective sample size?": (
        "q 的四个样本的重要性权重是 4、2、1 和 1。按通常的有效样本量公式，它们相当于多少个等权样本？"
    ),
    "The square of the sum over the sum of the squares.": "和的平方，除以平方的和。",
    "That is the number of draws, as if all weights were alike.": "这是样本的个数，仿佛权重都一样。",
    "Divide the square of the sum by the sum of the squares.": "要用和的平方除以平方的和。",
    "That is the share of the draws: how many are they?": "这是占样本的比例：题目问的是多少个。",
    "A mean-field fit has converged, and its sds are 0.7 times the posterior's. Ten times as many steps: do "
    'they come nearer? "yes" or "no"?': (
        "一个平均场近似已经收敛，它的标准差是后验的 0.7 倍。再走十倍的步数，标准差会更接近后验吗："
        '会（"yes"）还是不会（"no"）？'
    ),
    "The family has no better member. A wider family, or weights, would help.": (
        "这一族里没有更好的了。换更大的一族，或者加权，才有用。"
    ),
    "The best q of the family was found. What would further steps look for?": (
        "这一族里最好的 q 已经找到了。再走下去还能找什么？"
    ),
    # 6. Why VI and NUTS disagree
    "Why VI and NUTS disagree": "变分推断与 NUTS 为什么不一致",
    "recognise a funnel, and write a hierarchy in two ways": "认出漏斗形的后验，并用两种方式写出分层模型",
    "tell a disagreement that comes from q from one that comes from the chains": (
        "分辨不一致来自 q，还是来自马尔可夫链"
    ),
    "A hierarchy of eight groups has few data in each. Which way of writing it has the easier posterior: "
    '"centred" or "non-centred"?': (
        '一个分层模型有八个组，每组数据很少。哪种写法的后验更容易处理：中心化（"centred"）还是非中心化（"non-centred"）？'
    ),
    "With few data the effects follow their prior, and the funnel is gone when it is written out.": (
        "数据少的时候，各组效应跟着先验走；非中心化的写法把这种依赖写明，漏斗就消失了。"
    ),
    "With few data the effects are as wide as the group sd says: what shape has that?": (
        "数据少的时候，各组效应有多宽由组间标准差决定：这是什么形状？"
    ),
    "Given its group sd tau, an effect theta is Normal(0, tau). By what factor does the sd of theta change "
    "where log tau falls by 2?": (
        "给定组间标准差 tau，效应 theta 服从 Normal(0, tau)。当 log tau 减小 2 时，theta 的标准差变为原来的多少倍？"
    ),
    "One step size cannot serve both ends, and neither can one normal.": ("一个步长顾不了两头，一个正态分布也顾不了。"),
    "That is by how much it grows where log tau rises.": "这是 log tau 增大 2 时它变大的倍数。",
    "tau is the sd; its logarithm falls by 2, and what does the sd itself do?": (
        "tau 就是标准差；它的对数减小 2，标准差本身怎样变化？"
    ),
    "That is the factor of the variance.": "这是方差的倍数。",
    # 7. Reading a certificate
    "Reading a certificate": "读懂检验证书",
    "read label, KL, limit and verdict in their order": "按顺序读标签、KL 散度、界和结论",
    "tell what k-hat judges, and what it cannot see": "说出 k-hat 判断什么，又看不见什么",
    "say what a certificate rests on without a reference": "说出没有参考后验时，证书依据的是什么",
    "The posterior is a normal with means 0, sds 1 and correlation 0.6, and q has independent coordinates with "
    "means 0 and sds 1. What will the certificate say of KL(q‖posterior), in nats, to two digits?": (
        "后验是正态分布，均值为 0，标准差为 1，相关系数为 0.6；q 的两个坐标相互独立，均值为 0，标准差为 1。"
        "证书给出的 KL(q‖后验) 会是多少奈特（两位数字）？"
    ),
    "The sds of q are right, and yet it is not near: its draws fall where the posterior is not.": (
        "q 的标准差都对，离后验却并不近：它的样本落在后验没有概率的地方。"
    ),
    "That is KL(posterior‖q).": "这是 KL(后验‖q)。",
    "A q has k-hat 0.1 and an effective sample size of 99%. A second mode with half of the mass is far away. "
    "How many nats is q from the posterior, at least?": (
        "某个 q 的 k-hat 是 0.1，有效样本量是 99%。很远的地方还有第二个峰，占一半的概率。q 离后验至少有多少奈特？"
    ),
    "k-hat and the sample size judge q by its own draws, which have not been there.": (
        "k-hat 和有效样本量只用 q 自己的样本来判断 q，而这些样本没有到过那里。"
    ),
    "That is in bits.": "这是以比特计的。",
    "Half of the mass is missing: what does q have too much?": "漏掉了一半的概率：q 在别处又多出多少？",
    'Which label may a certificate have that knows the KL from importance weights alone: "exact", "certified" '
    'or "estimated"?': (
        "一份证书只靠重要性权重知道 KL 散度，它可以带哪个标签："
        '精确（"exact"）、已证实（"certified"）还是估计（"estimated"）？'
    ),
    "It holds as far as q's draws, wider ones and the climbs see.": (
        "它只在 q 的样本、更宽的样本和爬升所能看到的范围内成立。"
    ),
    "That takes a closed form or quadrature, of both.": "那需要两者都有解析解或数值积分。",
    "That takes an exact log evidence, or a reference run that passed its checks.": (
        "那需要精确的对数证据，或者一次通过检查的参考抽样。"
    ),
    # 8. A VAE that is checked
    "A VAE that is checked": "经过检验的变分自编码器",
    "split an encoder's gap into approximation and amortisation, and say what mends each": (
        "把编码器的差距分成近似差距和摊销差距，并说出各自怎样弥补"
    ),
    "turn nats a picture into bits a pixel": "把每张图的奈特数换算成每个像素的比特数",
    "say when a coordinate of a VAE collapses, and why": "说出变分自编码器的一个坐标何时坍缩，为什么坍缩",
    "A picture's log evidence is −118.0 nats, the ELBO of its own best q −118.5, and that of the encoder's q "
    "−120.2. What is the amortisation gap, in nats?": (
        "一张图的对数证据是 −118.0 奈特，它自己最好的 q 的 ELBO 是 −118.5，编码器给出的 q 的 ELBO 是 −120.2。"
        "摊销差距是多少奈特？"
    ),
    "A better encoder, or steps of the picture's own, would mend it.": (
        "更好的编码器，或者为这张图单独再走几步，就能弥补。"
    ),
    "That is the approximation gap, which no encoder mends.": "这是近似差距，什么编码器都弥补不了。",
    "That is both gaps together.": "这是两种差距之和。",
    "A picture of 64 pixels has a log density of −118 nats, in units of one grey level. How many bits is that "
    "a pixel?": "一张 64 像素的图，以一个灰度级为单位，对数密度是 −118 奈特。合每个像素多少比特？",
    "A picture of 17 equally probable levels would take 4.09.": "如果 17 个灰度级同样可能，每个像素要 4.09 比特。",
    "That is the whole picture.": "这是整张图的。",
    "To go from nats to bits, divide by log 2.": "从奈特换算成比特，要除以 log 2。",
    "In the linear model, pictures vary by λ = 10 along a direction, noise included; the noise has σ² = 12. "
    "What is the KL between q and the prior of the coordinate for it, at the best weights?": (
        "在线性模型中，图像沿某个方向的方差是 λ = 10（含噪声），噪声的方差是 σ² = 12。"
        "在最好的权重下，对应坐标的 q 与先验之间的 KL 散度是多少？"
    ),
    "It has collapsed: it would cost more than it explains.": "它坍缩了：它的花费会超过它所解释的。",
    "½ log(λ/σ²) holds where λ > σ².": "½ log(λ/σ²) 只在 λ > σ² 时成立。",
    "Two VAEs have the ELBOs −121 and −118 nats a picture held out. Which one should be said to be the better "
    'model: "first", "second" or "unknown"?': (
        "两个变分自编码器在留出的图像上，每张图的 ELBO 分别是 −121 和 −118 奈特。应当说哪个模型更好："
        '第一个（"first"）、第二个（"second"），还是不知道（"unknown"）？'
    ),
    "Their gaps may differ by more than 3 nats: compare evidences, or limits of them.": (
        "它们的差距可能相差不止 3 奈特：要比较证据，或者证据的界。"
    ),
    "Its bound is the lower one.": "它的下界更低。",
    "Its bound is higher. How large is each gap?": "它的下界更高。可是各自的差距有多大？",
}
