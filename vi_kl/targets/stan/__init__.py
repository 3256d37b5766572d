"""Stan programs as targets: `Target.from_stan("model.stan", data)`, `pip install "vi_kl[stan]"`.

model.py      the source: a program's log density, sites, data and computed quantities behind the contract `Density`
library.py    the compiled program: stanc and the headers of httpstan, a C++ compiler, a cache
bridge.cpp    what is compiled beside the program, for Python to call
"""

from vi_kl.targets.stan.model import density_from_stan

__all__ = ["density_from_stan"]
