"""Reports: what a person looks at. `compare` fits several approximations of one target and checks each."""
