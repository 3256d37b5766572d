"""Advice: what to try next, given the measurements of q, its family, its dimension and the model."""

from vi_kl.diagnostics.judgement import SCALE
from vi_kl.diagnostics.measurements import Measurements
from vi_kl.diagnostics.sentences import say

FAR_OFF = 10.0  # nats: a q whose lower limit of KL is larger does not overlap the bulk of the posterior
LARGEST_FLOW = 100  # dimensions; with more, a flow takes minutes to fit and is seldom better
SEVERAL = (
    "Fit from several keys and compare; order the labels in the model if modes are relabellings; use a family "
    "with several modes, or MCMC with tempering."
)
NORMAL = ("mean_field", "full_rank", "low_rank", "block_normal", "sparse_normal")
LARGEST_DENSE = 200  # dimensions; with more, a full covariance is dear unless its inverse is sparse
EXACT = "Draws of the posterior itself, by MCMC that starts from this fit: vi_kl.sample(fit, key=key)."
CHAINS = (
    "Short chains from q's draws, which prove its averages wrong without weights, and were left out for their price: "
    "check(fit, short_chains=True, key=key)."
)
NOTABLE_CORRELATION = 0.2  # the error of a correlation above which a family that sees it is worth trying
FLOWS = ("flow", "iaf", "bnaf")  # one of these is part of the name of every normalising flow


def advice_for(m: Measurements, label: str) -> tuple[str, ...]:
    """Return remedies for what the figures show, the most promising first; an empty tuple if nothing needs mending."""
    if m.is_point:
        density = 'A family with a density around the same mode: "laplace", or better the best normal, "full_rank".'
        return (say(density),)
    if m.improper:
        return (say("Proper priors for what the data do not determine; or fix, drop or tie those parameters."),)
    kl = None if m.reverse_kl is None else m.reverse_kl.to("nats").value
    advice = []
    if m.contradictions:
        advice.append(
            say("Mend what contradicts first: check q's log_prob against its sampler, and the reference's source.")
        )
        advice += [say(EXACT)] if m.short_chains is not None and m.short_chains.shifts else []
    if m.complaints:
        advice.append(say("A reference that passes its checks: they say what to do."))
    if m.saturated:
        names = ", ".join(f"'{s.site}'" for s in m.saturated)
        free = "A parameterisation of {names} in which the bound is not reached: the logarithm or logit itself."
        advice.append(say(free, names=names))
    if m.is_beside and m.converged is not False:
        advice.append(say("A longer fit, or one from another start: q is not where the posterior is highest."))
    if kl is None and m.limits.to("nats").lower > FAR_OFF and not m.is_beside:
        advice.append(say("A fit from another start: there are approximations nearer by as much as the limit says."))
    if m.may_go_on:
        advice.append(say("Let the optimiser finish: its status says what to raise."))
    if m.misses_mode:
        advice.append(say(SEVERAL))
    elif m.is_mean_field and lacks_correlation(m):
        better = "full_rank" if m.dim <= LARGEST_DENSE else "sparse_normal"
        advice.append(say('A family that sees correlation: "{better}".', better=better))
    elif kl is None or kl > SCALE[2][0]:
        advice += richer(m)
        advice += [] if m.source else [say(EXACT)]
    if m.mends:
        advice.append(say("Weight q's draws by their importance: the corrected errors are small."))
    if m.chains_were_dear:
        advice.append(say(CHAINS))
    if not m.source and label == "unknown":
        advice.append(say("Compute a reference posterior: check(fit, vi_kl.find_reference, key=key)."))
    return tuple(advice)


def lacks_correlation(m: Measurements) -> bool:
    """Return whether a correlation of q's is off by more than 0.2, by weights, a reference or short chains."""
    by_chains = 0.0 if m.short_chains is None else m.short_chains.worst_correlation
    return max(by_chains, 0.0 if m.errors is None else m.errors.correlation) > NOTABLE_CORRELATION


def richer(m: Measurements) -> list[str]:
    """Return families that contain q's own, and a reparameterisation of what is not normal, as pieces of advice."""
    families = richer_families(m)
    advice = [say("A richer family: {families}.", families=families)] if families else []
    if m.hierarchical:
        names = ", ".join(f"'{name}'" for name in m.hierarchical[:3])
        advice.append(say("The non-centred form of {names}, whose priors depend on other latent sites.", names=names))
    elif not is_flow(m):
        advice.append(another_scale(", ".join(worst_sites(m)[:3])))
    if not advice:
        advice.append(say("A longer fit, from several keys."))
    return advice


def another_scale(names: str) -> str:
    """Return the advice to write sites in another way; all of them if none is named."""
    if not names:
        return say("A reparameterisation that makes the posterior more nearly normal (another scale).")
    of_names = "A reparameterisation of {names} that makes the posterior more nearly normal (another scale)."
    return say(of_names, names=names)


def worst_sites(m: Measurements) -> list[str]:
    """Return the names of the sites whose averages are off, by weights or else by short chains, the worst first."""
    if m.errors is not None:
        return m.errors.worst_sites
    shifts = () if m.short_chains is None else m.short_chains.of_sites
    names = [entry.split("[")[0] for shift in shifts for entry in shift.entry.split(" and ")]
    return list(dict.fromkeys(names))


def richer_families(m: Measurements) -> str:
    """Return the names of families to try, given q's family and the dimension; "" if none is richer."""
    if is_flow(m):
        return ""
    names = []
    if m.dim > LARGEST_DENSE and m.family in NORMAL[:-1]:
        names.append('"sparse_normal"')
    elif m.dim > LARGEST_DENSE and m.family == "sparse_normal" and m.hierarchical:
        names.append('"nested_normal"')
    elif m.is_mean_field and m.dim > 1:
        names.append('"full_rank"')
    if m.family in NORMAL and m.dim <= LARGEST_FLOW:
        names.append('"skewed"')
    if 1 < m.dim <= LARGEST_FLOW:
        names.append('"flow"')
    if m.dim == 1 and m.family == "skewed":
        names.append('"mixture"')
    return say(", then ").join(names)


def is_flow(m: Measurements) -> bool:
    """Return whether q's family is a normalising flow."""
    return any(part in m.family.lower() for part in FLOWS)
