"""The paper's claims, one by one, judged from records: `python -m study.claims`.

From Python:

    from study.claims import RecordFolder, judge_claims, markdown_page

    records = RecordFolder("figures/gallery")
    judged = judge_claims(records)
    print(markdown_page(judged, records))
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
