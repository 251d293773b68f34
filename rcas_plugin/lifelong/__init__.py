"""`rcas classify`: a classifier that learns classes task by task, with a GAN in the place of the earlier tasks' images."""
