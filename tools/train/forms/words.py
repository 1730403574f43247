#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What forms say: names of fields with values that fit, titles, running text.  Half of it comes from the lists below, which
were written for this file from general knowledge of office forms; the other half is dictionary words put together at random,
so that a model has to look at layout, punctuation and case rather than know a list by heart.

    Content(DIR, seed)   DIR holds words.txt (one word a line) and sentences.txt (one sentence a line), see prepare.py
"""
import os
import random
import string

# kind of value -> names of fields that ask for it
FIELDS = {
    "date": """date|date received|date issued|effective date|due date|date of birth|start date|end date|expiration date|date required|
        date shipped|date submitted|date of report|invoice date|order date|completion date|target date|mailing date|date approved|
        date completed|date of request|today's date|date of hire|period ending|week of|month|year|reporting period|time period|
        date typed|date of meeting|delivery date|closing date|contract date|anticipated start|as of|dated""",
    "time": "time|time in|time out|hour|time received|time sent|start time|end time|departure|arrival|pick up time|meeting time",
    "name": """name|from|to|attention|attn|contact|contact person|contact name|customer|client|patient|employee|employee name|
        supervisor|manager|submitted by|prepared by|requested by|approved by|reviewed by|received by|reported by|author|authors|
        analyst|technician|investigator|principal investigator|sender|recipient|sent by|cc|copy to|copies to|distribution|signed|
        signature|applicant|insured|beneficiary|student|instructor|physician|attorney|witness|project leader|project manager|
        sales representative|account executive|buyer|seller|director|secretary|responsible person|coordinator|originator|
        authorized by|checked by|issued by|ordered by|name of applicant|full name|last name|first name|print name|your name|
        regional manager|division manager|field representative|expert|chairman|sponsor|consultant|programmer|operator|inspector""",
    "company": """company|company name|firm|organization|employer|vendor|supplier|manufacturer|distributor|agency|institution|
        account|account name|chain|store|store name|retailer|bank|laboratory|sponsor|hospital|publisher|contractor|carrier|
        name of account|bill to|ship to|sold to|business name|school|parent company|supplier name|advertiser|printer""",
    "address": """address|street|street address|mailing address|home address|business address|location|city|state|city, state, zip|
        shipping address|site|building|place|destination|office|return address|place of birth|city and state|address of employer|
        plant location|room|floor|headquarters|permanent address|location of event|city/state|country|county|area""",
    "phone": """phone|telephone|fax|phone number|telephone number|fax number|phone no|fax no|telephone no|tel|home phone|
        work phone|business phone|extension|ext|telecopier|facsimile|fax #|phone #|tel no|telecopy number|confirmation number|
        call back number|mobile|cell phone|if problems call|telefax|voice|direct line|main number""",
    "code": """number|no|code|id|id number|account number|invoice no|order no|purchase order|p.o. number|serial number|reference|
        ref|ref no|file no|job number|project no|project number|sample no|sample number|lot number|batch|batch number|model|
        model no|part no|item no|item number|case no|document no|report number|study no|test no|policy number|license number|
        social security number|zip|zip code|employee no|control no|form no|cost center|department no|register number|voucher no|
        contract no|protocol number|claim number|catalog no|task no|experiment no|notebook no|page no|job no|reel no|tape no|
        budget code|registration number|certificate no|bar code|your ref|our ref|charge no|identification no|cas no|box no""",
    "count": """quantity|qty|pages|number of pages|no of pages|total pages|copies|number of copies|count|units|number of units|
        age|weight|height|length|width|volume|size|hours|days|number of samples|number of employees|total|sub total|subtotal|
        stores|number of stores|temperature|ph|moisture|pressure|speed|rate|yield|percent|percentage|concentration|dose|level|
        sample size|sequence|duration|distance|number of pages including cover|cases|cartons|pieces|attendance|population|
        density|depth|diameter|thickness|dimensions|circulation|frequency|no of items|volume (units)|number attending|score""",
    "money": """amount|total amount|price|unit price|cost|total cost|estimated cost|budget|salary|fee|tax|sales tax|shipping|
        balance|balance due|payment|deposit|discount|value|rate per hour|grand total|net amount|gross|freight|expense|expenses|
        total budget|current budget|original budget|amount requested|amount due|amount paid|cost per unit|annual salary|charges|
        actual cost|retail price|approved amount|commitment|invoice amount|total expenses|revised estimate|income|credit limit""",
    "choice": """yes|no|male|female|new|other|approved|rejected|urgent|confidential|original|revised|final|preliminary|pending|
        open|closed|active|full time|part time|single|married|mail|courier|regular|overnight|cash|check|credit card|domestic|
        foreign|internal|external|routine|rush|first class|air|ground|permanent|temporary|renewal|complete|partial|excellent|
        good|fair|poor|monthly|weekly|quarterly|annual|per your request|for your approval|for your review|please reply|
        for your information|please handle|as discussed|reply requested|none|not applicable|hand delivered|agree|disagree""",
    "text": """subject|re|title|description|purpose|comments|remarks|notes|message|reason|objective|summary|special instructions|
        instructions|type|category|status|product|brand|material|item|method|equipment|condition|results|conclusions|conclusion|
        recommendation|recommendations|background|scope|action|action taken|next steps|findings|observations|details|explanation|
        description of work|type of work|nature of request|reason for request|project|project title|position|job title|
        department|division|region|district|market|color|source|unit|group|occupation|education|experience|references|priority|
        event|activity|program|promotion|distribution method|media|publication|issue|space|caption|theme|target audience|
        competition|response|other comments|special requirements|attachments|enclosures|key words|topic|abstract|test|function|
        type of sample|compound|solvent|route|species|sex|diagnosis|symptoms|treatment|medication|procedure|vehicle|storage|
        packaging|display|merchandise|coupon|redemption|evaluation|feedback|name of product|brand(s)|terms|shipping method|via""",
}
ASKS = """please describe|list any|describe the|explain the reason for|what is the|who is responsible for|how many|what was the|
    please indicate|if yes, explain|if so, what is the|do you have|has the|were there any|how long has the|how would you rate the|
    specify the|identify the|when will the|where is the|please attach|are there other|is the|give the|state the|why was the"""
TITLES = """request|report|application|fax|facsimile|memorandum|memo|order|invoice|summary|record|evaluation|agreement|notice|form|
    transmittal|checklist|statement|authorization|survey|questionnaire|registration|certificate|log|schedule|proposal|review|
    worksheet|inventory|receipt|requisition|analysis|approval|change request|cover sheet|progress report|expense report|
    work order|purchase order|data sheet|test report|sample request|project proposal|status report|call report|profile|
    fax transmission|fax cover sheet|telecopy|transmittal sheet|fact sheet|time sheet|travel voucher|claim|estimate|bulletin|
    release|control form|routing slip|submission|nomination|budget|plan|inspection|incident report|specification|contract"""
SECTIONS = """general information|personal information|instructions|comments|results|for office use only|part a|part b|part i|
    part ii|section 1|section 2|section a|section b|to be completed by applicant|product information|contact information|
    project description|budget summary|approvals|signatures|distribution|test results|financial information|background|
    materials|shipping information|billing information|summary of results|action required|schedule|specifications|
    physical data|analysis|requested by|media information|sales information|employment history|education|references|other|
    emergency procedures|terms and conditions|physical properties|history|cost estimate|current status|important|confidential"""
FIRST = """James Mary Robert Patricia John Jennifer Michael Linda David Elizabeth William Barbara Richard Susan Joseph Jessica Thomas
    Sarah Charles Karen Chris Lisa Daniel Nancy Matthew Betty Anthony Sandra Mark Margaret Donald Ashley Steven Kim Paul Emily
    Andrew Donna Joshua Michelle Ken Carol Kevin Amanda Brian Dorothy George Melissa Tim Deborah Ron Stephanie Ed Rebecca Jason
    Sharon Jeff Laura Ryan Cindy Jacob Kathy Gary Amy Nick Angela Eric Shirley Jon Anna Larry Brenda Scott Pamela Ray Ruth"""
LAST = """Smith Johnson Williams Brown Jones Garcia Miller Davis Wilson Anderson Thomas Taylor Moore Jackson Martin Lee Thompson White
    Harris Clark Lewis Robinson Walker Young Allen King Wright Scott Hill Green Adams Baker Nelson Carter Mitchell Roberts Turner
    Phillips Campbell Parker Evans Edwards Collins Stewart Morris Rogers Reed Cook Morgan Bell Murphy Bailey Cooper Richardson Cox
    Howard Ward Peterson Gray Watson Brooks Kelly Sanders Price Bennett Wood Barnes Ross Henderson Coleman Jenkins Perry Powell
    Long Patterson Hughes Flores Foster Gonzales Bryant Russell Griffin Hayes Myers Ford Hamilton Graham Sullivan Wallace West"""
PLACES = """New York|Chicago|Boston|Richmond|Atlanta|Dallas|Houston|Denver|Seattle|Portland|Louisville|Winston|Greensboro|Raleigh|
    Charlotte|Nashville|Memphis|Columbus|Cleveland|Detroit|Milwaukee|St. Louis|Kansas City|Omaha|Phoenix|San Diego|Los Angeles|
    San Francisco|Sacramento|Philadelphia|Pittsburgh|Baltimore|Washington|Miami|Tampa|Orlando|London|Geneva|Hamburg|Toronto"""
STATES = "NY IL MA VA GA TX CO WA OR KY NC TN OH MI WI MO NE AZ CA PA MD DC FL NJ CT IN IA MN SC AL".split()
STREETS = "Street St. Avenue Ave. Road Rd. Boulevard Blvd. Drive Lane Plaza Court Parkway Highway Square".split()
MONTHS = "January February March April May June July August September October November December".split()
SUFFIX = "Inc. Corp. Co. Company Corporation Associates Laboratories Ltd. Group Industries Institute University Services Press".split()


def split(s):
    return [x.strip() for x in s.replace("\n", " ").split("|") if x.strip()]


FIELDS = {k: split(v) for k, v in FIELDS.items()}
ASKS, TITLES, SECTIONS, PLACES = split(ASKS), split(TITLES), split(SECTIONS), split(PLACES)
FIRST, LAST = FIRST.split(), LAST.split()
KINDS = ["date"] * 9 + ["time"] * 2 + ["name"] * 12 + ["company"] * 7 + ["address"] * 7 + ["phone"] * 7 + ["code"] * 13 + ["count"] * 10 + \
        ["money"] * 7 + ["text"] * 26


class Content:
    def __init__(self, folder, rng):
        self.g = rng if isinstance(rng, random.Random) else random.Random(rng)
        read = lambda n: [l for l in open(os.path.join(folder, n), encoding="utf-8").read().split("\n") if l]
        self.words, self.sentences = read("words.txt"), read("sentences.txt")

    # ---- pieces
    def chance(self, p):
        return self.g.random() < p

    def digits(self, n):
        return "".join(self.g.choices(string.digits, k=n))

    def upper(self, n):
        return "".join(self.g.choices(string.ascii_uppercase, k=n))

    def phrase(self, low, high):
        return " ".join(self.g.choice(self.words) for _ in range(self.g.randint(low, high)))

    def sentence(self):
        return self.g.choice(self.sentences)

    def cased(self, s, weights=(5, 3, 4, 2)):
        """upper, Title Case, as Sentence, as it is"""
        k = self.g.choices(range(4), weights)[0]
        if k == 0:
            return s.upper()
        if k == 1:
            return " ".join(w[:1].upper() + w[1:] for w in s.split(" "))
        return s[:1].upper() + s[1:] if k == 2 else s

    # ---- values
    def date(self):
        g = self.g
        y, m, d = g.randint(1950, 2024), g.randint(1, 12), g.randint(1, 28)
        month = MONTHS[m - 1]
        k = g.randrange(9)
        if k < 3:
            return f"{m}{g.choice('/-/')}{d}{g.choice('/-/')}{y % 100:02d}"
        return [f"{m:02d}/{d:02d}/{y}", f"{month} {d}, {y}", f"{month[:3]} {d}, {y}", f"{d} {month} {y}", f"{month} {y}",
                f"{d}-{month[:3].upper()}-{y % 100:02d}"][k - 3]

    def time(self):
        return f"{self.g.randint(1, 12)}:{self.g.randrange(60):02d}" + self.g.choice([" AM", " PM", " a.m.", " p.m.", "", "PM"])

    def name(self):
        g = self.g
        f, l = g.choice(FIRST), g.choice(LAST)
        i = g.choice(string.ascii_uppercase) + "."
        s = g.choice([f"{f} {l}", f"{f} {l}", f"{f[0]}. {l}", f"{f} {i} {l}", f"{f[0]}. {i} {l}", f"{l}, {f}", l, f"Mr. {l}", f"Ms. {f} {l}",
                      f"Dr. {f[0]}. {l}", f"{f[0]}{i[0]}{l[0]}", f"{f[0]}. {l} / {g.choice(FIRST)[0]}. {g.choice(LAST)}", f])
        return s.upper() if self.chance(.2) else s

    def company(self):
        g = self.g
        a = g.choice(LAST) if self.chance(.5) else self.cased(self.phrase(1, 2), (1, 6, 0, 0))
        s = g.choice([f"{a} {g.choice(SUFFIX)}", f"{a} & {g.choice(LAST)}", f"{a} {self.cased(g.choice(self.words), (0, 1, 0, 0))} {g.choice(SUFFIX)}",
                      f"{a} {g.choice(SUFFIX)}", self.upper(g.randint(2, 4))])
        return s.upper() if self.chance(.25) else s

    def address(self):
        g = self.g
        street = f"{g.randint(1, 9999)} {self.g.choice(LAST)} {g.choice(STREETS)}"
        if self.chance(.15):
            street = f"P.O. Box {g.randint(1, 99999)}"
        city = f"{g.choice(PLACES)}, {g.choice(STATES)}"
        if self.chance(.6):
            city += " " + self.digits(5) + ("-" + self.digits(4) if self.chance(.15) else "")
        return g.choice([street, city, f"{street}, {city}", f"{street} {city}", g.choice(PLACES), f"Room {g.randint(1, 999)}"])

    def phone(self):
        g, d = self.g, self.digits
        return g.choice([f"({d(3)}) {d(3)}-{d(4)}", f"{d(3)}-{d(3)}-{d(4)}", f"{d(3)}-{d(4)}", f"{d(3)}/{d(3)}-{d(4)}", f"({d(3)}){d(3)}-{d(4)}",
                         f"1-{d(3)}-{d(3)}-{d(4)}", f"Ext. {d(4)}", f"+{d(2)} {d(2)} {d(3)} {d(4)}", d(4), f"{d(3)} {d(3)} {d(4)}"])

    def code(self):
        g, d, u = self.g, self.digits, self.upper
        return g.choice([d(g.randint(1, 9)), f"{u(1)}-{d(g.randint(2, 5))}", f"{u(2)}{d(g.randint(2, 6))}", f"{d(2)}-{d(g.randint(2, 5))}",
                         f"{u(g.randint(1, 4))} {d(g.randint(1, 5))}", f"{d(3)}-{d(2)}-{d(4)}", f"#{d(g.randint(2, 6))}", f"{d(2)}-{u(1)}-{d(2)}",
                         f"{d(3)}{u(1)}", f"{u(3)}-{d(2)}/{d(2)}", f"{d(1)}{u(2)}{d(3)}", f"{d(5)}", f"{d(4)} {d(4)}"])

    def count(self):
        g = self.g
        n = g.choice([g.randint(0, 12), g.randint(1, 100), g.randint(100, 99999)])
        unit = g.choice("lbs. kg mg ml mm cm hours days units pages each cases inches ft. % % % ppm g degrees".split())
        return g.choice([f"{n}", f"{n}", f"{n:,}", f"{n / 10:.1f}", f"{n / 100:.2f}", f"{n} {unit}", f"{n}{unit}", f"{n}%", f"{n / 1000:.3f}",
                         f"{n} x {g.randint(1, 99)}", f"{n} - {n + g.randint(1, 50)}", f"{g.choice('<>~±+-')}{n}", f"{n} of {n + 3}"])

    def money(self):
        g = self.g
        n = g.choice([g.randint(1, 999), g.randint(1000, 999999)])
        return g.choice([f"${n:,}", f"${n:,}.{self.digits(2)}", f"$ {n:,}.00", f"{n:,}.{self.digits(2)}", f"{n:,}", f"${n / 1000:.1f}M", f"${n}K"])

    def choice(self):
        return self.g.choice(["X", "X", "X", "x", "Yes", "No", "YES", "NO", "N/A", "None", "NA", "/", "v", "XX", "-", "✓", "*"])

    def text(self, long=False):
        g = self.g
        if long or self.chance(.2):
            s = self.sentence()
            return s if long else " ".join(s.split(" ")[:g.randint(2, 9)])
        s = self.phrase(1, 4)
        if self.chance(.3):
            s = g.choice([f"{s} - {self.phrase(1, 2)}", f"{s} ({self.phrase(1, 2)})", f"{s} {self.code()}", f"{self.count()} {s}", f"{s}, {self.phrase(1, 2)}",
                          f"{s} for {self.phrase(1, 2)}", f"{s} of the {self.phrase(1, 2)}", f"{s} and {self.phrase(1, 2)}"])
        return self.cased(s, (2, 3, 4, 3))

    def value(self, kind):
        if self.chance(.04):
            return self.g.choice(["N/A", "None", "same", "see attached", "See above", "TBD", "unknown", "-", "?", "n/a", "Pending"])
        return getattr(self, kind)()

    # ---- names of fields, titles
    def field(self, kind=None):
        """a field's name without its colon, and the kind of its value"""
        g = self.g
        kind = kind or g.choice(KINDS)
        if self.chance(.62):
            s = g.choice(FIELDS[kind])
            if self.chance(.12):
                s = g.choice([f"{s} of {self.phrase(1, 1)}", f"{self.phrase(1, 1)} {s}", f"{s} ({self.phrase(1, 1)})", f"{s}/{g.choice(FIELDS[kind])}",
                              f"{s} and {g.choice(FIELDS[kind])}", f"{s} #", f"{s} (if any)"])
        else:
            s = self.phrase(1, g.choice([1, 2, 2, 3, 4]))
            kind = g.choice(KINDS)
        return self.cased(s, (5, 4, 4, .6)), kind

    def ask(self):
        s = f"{self.g.choice(ASKS)} {self.phrase(1, 5)}"
        if self.chance(.5):
            s += " " + self.g.choice(["of the", "for this", "in your", "used in", "by the", "to", "at the"]) + " " + self.phrase(1, 3)
        return self.cased(s, (1, 0, 9, 0)) + self.g.choice(["?", "?", ":", "."])

    def title(self):
        g = self.g
        s = g.choice([g.choice(TITLES), f"{self.phrase(1, 2)} {g.choice(TITLES)}", f"{g.choice(TITLES)} for {self.phrase(1, 3)}",
                      f"{self.phrase(1, 3)} {g.choice(TITLES)}", self.phrase(1, 4), f"{self.company()} {g.choice(TITLES)}"])
        return self.cased(s, (8, 4, 1, 0))

    def section(self):
        g = self.g
        s = g.choice(SECTIONS) if self.chance(.5) else self.phrase(1, 4)
        if self.chance(.25):
            s = g.choice([f"{g.choice('ABCDEF')}. ", f"{g.randint(1, 9)}. ", f"{g.choice(['I', 'II', 'III', 'IV', 'V'])}. ", f"Part {g.choice('ABC123')} - "]) + s
        return self.cased(s, (7, 4, 2, 0)) + (":" if self.chance(.12) else "")
