from .judging import CLAIMS as CLAIMS
from .judging import ClaimVerdict as ClaimVerdict
from .judging import JudgedClaim as JudgedClaim
from .judging import judge_claims as judge_claims
from .page import markdown_page as markdown_page
from .page import terminal_table as terminal_table
from .sources import RecordFolder as RecordFolder
