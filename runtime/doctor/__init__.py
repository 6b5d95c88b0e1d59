"""What `lumbre doctor` looks at: everything a role needs, before or while it runs."""

from runtime.doctor.examination import Check as Check
from runtime.doctor.examination import Examination as Examination
from runtime.doctor.rounds import checks as checks
