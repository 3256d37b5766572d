"""Certificates in Chinese: each sentence that they say, and the same in Chinese, with the same fields."""

CHINESE = {
    # as a certificate is printed
    "Certificate of {name}: {label}": "{name} 的证书：{label}",
    "Certificate of {name}: {label}, by {source}": "{name} 的证书：{label}，依据{source}",
    "It cannot see: {words}": "看不见的：{words}",
    "Try: {words}": "可以试试：{words}",
    "exact": "精确（exact）",
    "certified": "已证实（certified）",
    "estimated": "估计（estimated）",
    "unknown": "未知（unknown）",
    "closed form": "解析解",
    "quadrature": "数值积分",
    "reference run": "参考抽样",
    "run started from a fit": "从拟合出发的抽样",
    "sequential Monte Carlo": "序贯蒙特卡洛",
    # where a gap comes from
    "Gap of {name}: {label}": "{name} 的差距：{label}",
    "KL(q||post.)": "KL(q||后验)",
    "family": "分布族",
    "optimisation": "优化",
    "Monte Carlo": "蒙特卡洛",
    "± {error} nats on the total": "总数 ± {error} 奈特",
    "as a normal": "作为正态分布",
    "location": "位置",
    "scale": "尺度",
    "shape": "形状",
    "difference of the two": "两者之差",
    "log evidence - ELBO of the best member": "对数证据减去最好成员的 ELBO",
    "the total less the other three": "总数减去其余三项",
    "The best member of {family} is not searched: its draws are not an image of normal noise.": (
        "没有寻找 {family} 的最好成员：它的样本不是由正态噪声变换而来的。"
    ),
    "The family's part needs the total, and so a reference.": "要知道分布族的那部分，先要知道总数，所以需要参考后验。",
    # what contradicts
    "log q is not the log density of q's draws: it is off by {excess} nats or more somewhere. Is a Jacobian missing?": (
        "log q 不是 q 的样本的对数密度：它在某处至少差 {excess} 奈特。是不是漏了雅可比行列式？"
    ),
    "The log evidence is at most {upper} by posterior draws, and {evidence} by {method}: the draws are not this "
    "posterior's, or a density is wrong.": (
        "由后验样本，对数证据至多是 {upper}；而由{method}，它是 {evidence}：样本不是这个后验的，或者有一个密度错了。"
    ),
    "The log evidence is at least {lower} by importance weights, and {evidence} by {method}: that misses a part of the "
    "posterior, or a density is wrong.": (
        "由重要性权重，对数证据至少是 {lower}；而由{method}，它是 {evidence}："
        "后者漏掉了后验的一部分，或者有一个密度错了。"
    ),
    "The ELBO exceeds the log evidence by {by} nats, which it cannot.": "ELBO 比对数证据高 {by} 奈特，这是不可能的。",
    "The two ways of computing the KL disagree ({one} and {other} nats): trust neither until that is explained.": (
        "计算 KL 的两种方法不一致（{one} 和 {other} 奈特）：在弄清原因之前，两个都不要相信。"
    ),
    "Two opinions on the log evidence disagree: {one}, and {other}.": "对数证据的两个来源不一致：{one}，以及 {other}。",
    "Short chains from q's draws prove that KL(q||posterior) is at least {least} nats, and by {method} it is {kl}: "
    "that misses a part of the posterior.": (
        "从 q 的样本出发的短链证明 KL(q||后验) 至少是 {least} 奈特；而由{method}，它是 {kl}：后者漏掉了后验的一部分。"
    ),
    "Short chains from q's draws prove that {shift}, and by {against} no mean or sd is off: that misses a part of the "
    "posterior.": ("从 q 的样本出发的短链证明{shift}；而由{against}，均值和标准差都没有偏差：后者漏掉了后验的一部分。"),
    # how far q is
    "{nats} nats = {bits} bits": "{nats} 奈特 = {bits} 比特",
    "indistinguishable from it in practice": "实际上分辨不出",
    "very close": "很近",
    "close": "近",
    "a rough stand-in": "勉强可以代替",
    "far": "远",
    "q is {distance} from the posterior ({word}).": "q 离后验 {distance}（{word}）。",
    "q seems to be {distance} from the posterior ({word}), as far as {sight} can see.": (
        "就{sight}所能看到的，q 离后验 {distance}（{word}）。"
    ),
    "the reference run": "参考抽样",
    "q's draws and wider ones": " q 的样本和更宽的样本",
    "q is a point, which has no density, so KL(q||posterior) is infinite: it says nothing of uncertainty.": (
        "q 是一个点，没有密度，所以 KL(q||后验) 是无穷大：它对不确定性什么也没说。"
    ),
    "q puts {share} of its draws where the posterior has no density, so KL(q||posterior) is infinite.": (
        "q 有 {share} 的样本落在后验密度为零的地方，所以 KL(q||后验) 是无穷大。"
    ),
    "The posterior may be improper: as far out as its density can be followed along {names} it does not fall "
    "off as one that has an integral must. Of a posterior that does not exist there is no distance.": (
        "后验可能是不正常的：沿着 {names}，在密度算得出来的范围内，它下降得不够快，积分不存在。"
        "后验不存在，就谈不上距离。"
    ),
    "In float32 the log density is off by {rounding} from draw to draw of q, which hides the distance to "
    "the posterior. Centre and scale the data, or leave dtype='float32' out.": (
        "用 float32 计算时，对数密度在 q 的各个样本上相差 {rounding} 的舍入误差，盖过了到后验的距离。"
        "请把数据中心化并缩放，或者去掉 dtype='float32'。"
    ),
    "These figures contradict each other, so the distance to the posterior is unknown.": (
        "这些数互相矛盾，所以到后验的距离未知。"
    ),
    "The {source} with which q is compared failed its own checks, so the distance to the posterior is unknown.": (
        "与 q 比较的{source}没有通过自身的检查，所以到后验的距离未知。"
    ),
    "The distance to the posterior is unknown.": "到后验的距离未知。",
    "It is at least {distance}.": "它至少是 {distance}。",
    "Neither q's draws nor wider ones beside them weigh evenly enough to tell the evidence (q's own k-hat {k_hat}).": (
        "不论 q 的样本还是旁边更宽的样本，权重都太不均匀，得不出证据（q 自己的 k-hat 是 {k_hat}）。"
    ),
    "KL(q||posterior) came out as {kl} nats, and no divergence is negative: its error is larger than it says, "
    "and the distance to the posterior unknown.": (
        "KL(q||后验) 算出来是 {kl} 奈特，而散度不会是负数：它的误差比所写的大，到后验的距离未知。"
    ),
    "The distance to the model's posterior is unknown; to the density as float64 computes it, it is about "
    "{distance}.": "到模型后验的距离未知；到 float64 所算的密度，距离大约是 {distance}。",
    # what q leaves out
    "It leaves out about {missed} of the posterior's mass, which alone costs -log {kept} = {cost} nats: a mode "
    "is missing. q sits on one part, and reverse KL charges only for naming that part, however far away the "
    "rest is.": (
        "它漏掉了后验大约 {missed} 的概率，仅此一项就要付 -log {kept} = {cost} 奈特：缺了一个峰。"
        "q 停在其中一部分上，而不管其余部分有多远，反向 KL 只收“说出是哪一部分”的价钱。"
    ),
    "A mode is missing: climbs from outside q found {number} that q never visits.": (
        "缺了峰：从 q 外面出发的爬升找到 {number} 个 q 从未到过的峰。"
    ),
    "A mode is missing: climbs from outside q found {number} that q never visits, with about {share} of the mass.": (
        "缺了峰：从 q 外面出发的爬升找到 {number} 个 q 从未到过的峰，大约占 {share} 的概率。"
    ),
    "Within its own reach q overlooks {number} modes, narrower than itself or where it has hardly any mass.": (
        "在 q 自己的范围内，它忽略了 {number} 个峰：它们比 q 窄，或者位于 q 几乎没有概率的地方。"
    ),
    "Within its own reach q overlooks 1 mode, narrower than itself or where it has hardly any mass.": (
        "在 q 自己的范围内，它忽略了 1 个峰：那个峰比 q 窄，或者位于 q 几乎没有概率的地方。"
    ),
    "q sits beside a mode, not on it: a climb from q's own mean leaves q.": (
        "q 在峰的旁边，不在峰上：从 q 自己的均值出发爬升，就离开了 q。"
    ),
    "It leaves out about {missed} of the posterior's mass: it is too narrow, or beside it.": (
        "它漏掉了后验大约 {missed} 的概率：它太窄，或者偏在一旁。"
    ),
    # averages
    "The posterior of {names} may have no variance: only quantiles are compared there.": (
        "{names} 的后验可能没有方差：那里只比较分位数。"
    ),
    "Means are off by up to {mean} posterior sd, and sds are {sd} times the posterior's at worst.": (
        "均值最多偏 {mean} 个后验标准差；标准差最差的是后验的 {sd} 倍。"
    ),
    "Importance weights mend that: to {mean} sd and {sd} times.": (
        "重要性权重能把它们修正到 {mean} 个标准差和 {sd} 倍。"
    ),
    "k-hat {k_hat}: importance weighting would not repair it.": "k-hat 为 {k_hat}：用重要性权重修不好。",
    "{more} more such errors": "另有 {more} 处这样的误差",
    "{number} short chains from q's draws prove, with 95% confidence in all of it, that {errors}.": (
        "从 q 的样本出发的 {number} 条短链证明（总置信度 95%）：{errors}。"
    ),
    "{number} short chains from q's draws prove, with 95% confidence in all of it, that q is wrong: as far as they "
    "have come, {errors}. They are still underway, so where q is wrong in the end, and by how much, is open.": (
        "从 q 的样本出发的 {number} 条短链证明（总置信度 95%）q 是错的：就它们走到的地方看，{errors}。"
        "它们还在途中，所以 q 最终错在哪里、错多少，尚无定论。"
    ),
    "the sd of {entry} is at least {times} times the posterior's": "{entry} 的标准差至少是后验的 {times} 倍",
    "the sd of {entry} is at most {times} times the posterior's": "{entry} 的标准差至多是后验的 {times} 倍",
    "the {what} of {entry} is too high by at least {by}": "{entry} 的{what}至少偏高 {by}",
    "the {what} of {entry} is too low by at least {by}": "{entry} 的{what}至少偏低 {by}",
    "the {what} of {entry} is too high by at least {by} posterior sds": "{entry} 的{what}至少偏高 {by} 个后验标准差",
    "the {what} of {entry} is too low by at least {by} posterior sds": "{entry} 的{what}至少偏低 {by} 个后验标准差",
    "mean": "均值",
    "median": "中位数",
    "5% quantile": " 5% 分位数",
    "95% quantile": " 95% 分位数",
    "correlation": "相关系数",
    "the log density": "对数密度",
    "At site '{site}', {share} of q's draws are {value} to rounding: float64 cannot tell them from the bound, "
    "and the density there is not the model's.": (
        "在位点 '{site}'，q 有 {share} 的样本在舍入之后等于 {value}："
        "float64 分不清它们与边界，那里的密度不是模型的密度。"
    ),
    # what it cannot see
    "Nor how uncertain {names} is: all figures are of the posterior at the value learned.": (
        "也看不见 {names} 有多不确定：所有的数都是在学到的值处的后验的。"
    ),
    "Nor how uncertain {names} are: all figures are of the posterior at the values learned.": (
        "也看不见 {names} 有多不确定：所有的数都是在学到的值处的后验的。"
    ),
    "Nor differences within the rounding of float32: the log density is off by {rounding} from draw to draw of q, "
    "which the errors stated here count.": (
        "也看不见 float32 舍入范围内的差别：对数密度在 q 的各个样本上相差 {rounding}，这里所写的误差已计入。"
    ),
    "Nor what short chains from q's draws would show if they were longer: {moves} moves were too few for them "
    "to settle.": "也看不见从 q 的样本出发的短链再长一些会显出什么：走 {moves} 步还不足以稳定下来。",
    "{names} and {more} more": "{names} 等（另有 {more} 个）",
    "Nor whether q is right in {names}, where short chains moved too little.": (
        "也看不见 q 在 {names} 上是否正确：短链在那里移动得太少。"
    ),
    "Errors of means up to {mean} posterior sds, and of sds up to a factor of {sd}, may have escaped the short "
    "chains too, and larger ones if all of them are in one part of the posterior.": (
        "均值不超过 {mean} 个后验标准差、标准差不超过 {sd} 倍的误差，短链也可能没有发现；"
        "如果所有的链都在后验的同一部分，更大的误差也可能没有发现。"
    ),
    ", which begin on {rows} random rows and end on all": "（爬升从随机的 {rows} 行数据开始，在全部数据上结束）",
    "Nor what more work would show: one evaluation of this log density takes long, so it rests on {draws} draws of "
    "q and {climbs} climbs{begun}. check(..., num_draws={usual}) takes as many as for other posteriors.": (
        "也看不见多花功夫会显出什么：这个对数密度每算一次都很久，所以证书只依据 q 的 {draws} 个样本和 {climbs} 次爬升"
        "{begun}。check(..., num_draws={usual}) 用的样本与对其他后验一样多。"
    ),
    "How far the point is from the posterior's means, or whether another mode is higher.": (
        "这个点离后验的均值有多远，或者有没有更高的峰。"
    ),
    "Whether the model is a good one: the KL is measured against its posterior for these data.": (
        "模型好不好：KL 是对这些数据下模型自己的后验量的。"
    ),
    "A mode that none of the quadrature's searches climbed to; and whether the model is a good one: the KL "
    "is measured against its posterior for these data.": (
        "数值积分的搜索没有爬到的峰；以及模型好不好：KL 是对这些数据下模型自己的后验量的。"
    ),
    "climbs might reach (none was tried here)": "爬升也许能到（这里没有试）",
    "none of {number} climbs reached": " {number} 次爬升都没有到达",
    "A mode that every reference chain missed, and that {climbs}; chains that agree with each other while all "
    "of them are stuck in one part.": ("每一条参考链都漏掉、而且{climbs}的峰；以及彼此一致、却都困在同一部分的链。"),
    "Nor, without q's density at posterior draws, how far q is at most.": (
        "没有 q 在后验样本处的密度，也看不见 q 至多有多远。"
    ),
    "How far away q is at most: without the log evidence there is only a lower limit. Nor a mode that q never "
    "visits, and that {climbs}.": ("q 至多有多远：没有对数证据，就只有下限。也看不见 q 从未到过、而且{climbs}的峰。"),
    "A mode that q never visits, and that {climbs}: the weights judge q only where draws of it, and of wider "
    "densities around it, fall.": (
        "q 从未到过、而且{climbs}的峰：权重只在 q 的样本和它周围更宽的密度的样本所到之处评判 q。"
    ),
    # what to try
    'A family with a density around the same mode: "laplace", or better the best normal, "full_rank".': (
        '在同一个峰处有密度的分布族："laplace"，或者更好的，最好的正态 "full_rank"。'
    ),
    "Proper priors for what the data do not determine; or fix, drop or tie those parameters.": (
        "给数据决定不了的参数以正常的先验；或者把它们固定、去掉、绑在一起。"
    ),
    "Mend what contradicts first: check q's log_prob against its sampler, and the reference's source.": (
        "先解决矛盾：核对 q 的 log_prob 与它的抽样是否一致，以及参考从何而来。"
    ),
    "A reference that passes its checks: they say what to do.": "换一个通过检查的参考：那些检查会说该怎么做。",
    "A parameterisation of {names} in which the bound is not reached: the logarithm or logit itself.": (
        "给 {names} 换一种碰不到边界的写法：直接用对数或 logit。"
    ),
    "A longer fit, or one from another start: q is not where the posterior is highest.": (
        "拟合得久一些，或者换一个起点：q 不在后验最高的地方。"
    ),
    "A fit from another start: there are approximations nearer by as much as the limit says.": (
        "换一个起点拟合：按界所说，还有近得多的近似。"
    ),
    "Let the optimiser finish: its status says what to raise.": "让优化器做完：它的状态说明该调大什么。",
    "Fit from several keys and compare; order the labels in the model if modes are relabellings; use a family "
    "with several modes, or MCMC with tempering.": (
        "用几个随机种子拟合并比较；如果几个峰只是标签互换，就在模型里给标签排序；"
        "用有多个峰的分布族，或者带调温的 MCMC。"
    ),
    'A family that sees correlation: "{better}".': '能看见相关性的分布族："{better}"。',
    "Weight q's draws by their importance: the corrected errors are small.": (
        "给 q 的样本加上重要性权重：修正后的误差很小。"
    ),
    "Draws of the posterior itself, by MCMC that starts from this fit: vi_kl.sample(fit, key=key).": (
        "后验本身的样本，由从这个拟合出发的 MCMC 得到：vi_kl.sample(fit, key=key)。"
    ),
    "Short chains from q's draws, which prove its averages wrong without weights, and were left out for their price: "
    "check(fit, short_chains=True, key=key).": (
        "从 q 的样本出发的短链，不用权重就能证明它的平均值错了；这里因为太贵而省去："
        "check(fit, short_chains=True, key=key)。"
    ),
    "Compute a reference posterior: check(fit, vi_kl.find_reference, key=key).": (
        "计算一个参考后验：check(fit, vi_kl.find_reference, key=key)。"
    ),
    "A richer family: {families}.": "更丰富的分布族：{families}。",
    ", then ": "，然后 ",
    "The non-centred form of {names}, whose priors depend on other latent sites.": (
        "{names} 的非中心化写法：它们的先验依赖于其他潜变量。"
    ),
    "A reparameterisation that makes the posterior more nearly normal (another scale).": (
        "换一种参数化（另一种尺度），使后验更接近正态。"
    ),
    "A reparameterisation of {names} that makes the posterior more nearly normal (another scale).": (
        "给 {names} 换一种参数化（另一种尺度），使后验更接近正态。"
    ),
    "A longer fit, from several keys.": "用几个随机种子，拟合得久一些。",
}
