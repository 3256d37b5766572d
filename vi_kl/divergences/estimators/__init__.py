"""The methods by which a divergence is estimated; `divergences.estimation` chooses among these.

numerical             exact sums over finite supports, quadrature on the line (panels in quadrature)
cubature              two and three variables, on grids laid along p (sinh_map)
quasi_monte_carlo     scrambled Sobol points, where transport makes draws of p from uniform numbers
monte_carlo           draws from p, with their noise reduced by control_variate where that is safe
importance_sampling   draws from q or another proposal
nearest_neighbours    two sets of draws whose densities are unknown
pareto                whether a mean over draws is reliable: the shape k-hat of its largest terms
"""
