"""The parts of scripts/matrix: every config that StudioGAN ships, reduced in width, through its own main.py."""
