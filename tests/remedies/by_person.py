BY_PERSON: dict[str, str] = {}
