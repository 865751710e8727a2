"""Compare training objectives: arms, runs over seeds, and the scoreboard of the paper's claims."""
