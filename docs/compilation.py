"""What is compiled for one page serves all of a build.

MkDocs loads this file as a hook, the first one: it speaks to JAX by the environment, before anything imports it, and so
to the processes that run the pages and examples. What the environment says already comes first.
"""

import os
import tempfile

from vi_kl.cli.quick_compilation import compile_quickly, tell_xla

kept = tempfile.TemporaryDirectory()  # which is removed when the build ends
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", kept.name)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
compile_quickly()
tell_xla("--xla_cpu_parallel_codegen_split_count", "1")  # parts of a program, compiled side by side, take more work
