"""``python -m microgradx``."""
from microgradx.cli import main

if __name__ == "__main__":
    main()
