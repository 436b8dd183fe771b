"""Made-up words, for documents and questions whose content decides nothing."""

SHORT_WORDS = tuple(f"{first}{second}{third}" for first in "bdfgklmnprstvz" for second in ("a", "e", "io", "u")
                    for third in ("ban", "del", "fir", "gon", "lam", "mer", "nok", "pal", "rus", "sil", "tov", "vex")
                    )  # fmt: skip
