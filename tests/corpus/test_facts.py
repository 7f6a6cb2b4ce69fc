"""Facts held against a second source: Sionna's tables, formulas of the specifications, and figures read in open-source networks.

The literals are our own transcriptions; a comment names the project or document they were read in. A row without a
second source has no place in the facts.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from netgpt.corpus.reading import read_facts

PARAMETERS = read_facts("parameters.toml")
TABLES: dict[str, list[dict[str, Any]]] = PARAMETERS["table"]
TERMS: list[dict[str, str]] = read_facts("terms.toml")["table"]["term"]
ALARMS = read_facts("alarms.toml")
INTENTS = read_facts("intents.toml")
BITS = {"QPSK": 2, "16QAM": 4, "64QAM": 6}


def column(table: str, key: str, value: str) -> dict[Any, Any]:
    """One column of a table by another; a key occurs once."""
    rows = TABLES[table]
    found = {row[key]: row[value] for row in rows}
    assert len(found) == len(rows)
    return found


def pairs(text: str) -> dict[str, str]:
    """`a=b; c=d` as a mapping."""
    return dict((part.strip().split("=", 1)[0], part.strip().split("=", 1)[1]) for part in text.split(";"))


def sionna_values(module: str, name: str) -> list[ast.expr]:
    """What a module of Sionna assigns to a name, as syntax: importing it would load its whole physical layer."""
    spec = importlib.util.find_spec("sionna")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("sionna-no-rt is not installed")
    tree = ast.parse((Path(spec.submodule_search_locations[0]) / module).read_text(encoding="utf-8"))
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
    ]


def sionna_mcs(name: str, table: int) -> list[float]:
    """A row of Sionna's MCS tables for PDSCH, TS 38.214 table 5.1.3.1-`table`."""
    tensor = next(value for value in sionna_values("phy/nr/utils.py", name) if isinstance(value, ast.Call) and isinstance(value.args[0], ast.List))
    channels = tensor.args[0]
    assert isinstance(channels, ast.List)
    pdsch = channels.elts[1]
    assert isinstance(pdsch, ast.List)
    return ast.literal_eval(pdsch.elts[table - 1])


# --- the physical layer -----------------------------------------------------------------------------------------------------------


def test_mcs_is_the_first_table_of_sionna() -> None:
    rows = TABLES["mcs"]
    assert [row["mcs"] for row in rows] == list(range(29))
    assert [row["order"] for row in rows] == sionna_mcs("mod_orders", 1)
    assert [row["rate"] for row in rows] == sionna_mcs("target_rates", 1)
    assert all(BITS[row["modulation"]] == row["order"] for row in rows)


def test_every_cqi_is_a_row_of_an_mcs_table_of_sionna() -> None:
    known = {pair for table in (1, 3) for pair in zip(sionna_mcs("mod_orders", table), sionna_mcs("target_rates", table), strict=True)}
    assert {(BITS[row["modulation"]], row["rate"]) for row in TABLES["cqi"]} <= known


def test_cqi_gives_the_efficiencies_of_its_table() -> None:
    # The efficiency column of the 4-bit table (also LTE's, TS 36.213 table 7.2.3-1), read in link simulators on GitHub.
    efficiency = (0.1523, 0.2344, 0.3770, 0.6016, 0.8770, 1.1758, 1.4766, 1.9141, 2.4063, 2.7305, 3.3223, 3.9023, 4.5234, 5.1152, 5.5547)
    assert [row["cqi"] for row in TABLES["cqi"]] == list(range(1, 16))
    for row, expected in zip(TABLES["cqi"], efficiency, strict=True):
        assert BITS[row["modulation"]] * row["rate"] / 1024 == pytest.approx(expected, abs=6e-5)


def test_numerology_follows_the_formulas_and_sionna() -> None:
    # TS 38.211: spacing 15 * 2^mu kHz (4.2), 2^mu slots a subframe of 1 ms, ten subframes a frame (4.3.2).
    slots = ast.literal_eval(sionna_values("phy/nr/carrier_config.py", "spacing_map")[0])
    assert {row["mu"] for row in TABLES["numerology"]} == set(range(5))
    for row in TABLES["numerology"]:
        count = 2 ** row["mu"]
        assert row["scs_khz"] == 15 * count
        assert row["slots_subframe"] == count == slots[row["scs_khz"]]
        assert row["slots_frame"] == 10 * count
        assert float(row["slot_ms"]) * count == 1


def test_resource_blocks_leave_the_minimum_guard_bands() -> None:
    # TS 38.101-1 table 5.3.3-1, kHz, as two PRB calculators on GitHub hold it. Its note: guard = (width - blocks * 12 * spacing) / 2 - spacing / 2.
    widths = (5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 90, 100)
    guard = {
        15: (242.5, 312.5, 382.5, 452.5, 522.5, 592.5, 552.5, 692.5, None, None, None, None),
        30: (505, 665, 645, 805, 785, 945, 905, 1045, 825, 925, 885, 845),
        60: (None, 1010, 990, 1330, 1310, 1290, 1610, 1570, 1530, 1450, 1410, 1370),
    }
    seen = {(row["scs_khz"], row["width_mhz"]) for row in TABLES["grid"]}
    assert len(seen) == len(TABLES["grid"])
    assert seen == {(spacing, width) for spacing, row in guard.items() for width, khz in zip(widths, row, strict=True) if khz is not None}
    for row in TABLES["grid"]:
        spacing, width = row["scs_khz"], row["width_mhz"]
        assert (width * 1000 - row["blocks"] * 12 * spacing) / 2 - spacing / 2 == guard[spacing][widths.index(width)]


def frequency_mhz(arfcn: int) -> float:
    """TS 38.104 table 5.4.2.1-1: the global frequency raster."""
    if arfcn < 600000:
        return 0.005 * arfcn
    return 3000 + 0.015 * (arfcn - 600000) if arfcn < 2016667 else 24250.08 + 0.06 * (arfcn - 2016667)


# Uplink first, uplink last, downlink first, downlink last NR-ARFCN: srsRAN Project, lib/ran/band_helper.cpp (TS 38.104 table 5.4.2.3-1).
FDD_RASTER = {
    "n1": (384000, 396000, 422000, 434000),
    "n2": (370000, 382000, 386000, 398000),
    "n3": (342000, 357000, 361000, 376000),
    "n5": (164800, 169800, 173800, 178800),
    "n7": (500000, 514000, 524000, 538000),
    "n8": (176000, 183000, 185000, 192000),
    "n12": (139800, 143200, 145800, 149200),
    "n20": (166400, 172400, 158200, 164200),
    "n25": (370000, 383000, 386000, 399000),
    "n28": (140600, 149600, 151600, 160600),
    "n66": (342000, 356000, 422000, 440000),
    "n71": (132600, 139600, 123400, 130400),
}
TDD_RASTER = {
    "n38": (514000, 524000),
    "n39": (376000, 384000),
    "n40": (460000, 480000),
    "n41": (499200, 537999),
    "n48": (636667, 646666),
    "n77": (620000, 680000),
    "n78": (620000, 653333),
    "n79": (693334, 733333),
    "n257": (2054166, 2104165),
    "n258": (2016667, 2070832),
    "n260": (2229166, 2279165),
    "n261": (2070833, 2084999),
}


def test_bands_span_their_raster() -> None:
    assert set(column("band", "band", "duplex")) == set(FDD_RASTER) | set(TDD_RASTER)
    for row in TABLES["band"]:
        name = row["band"]
        assert row["duplex"] == ("FDD" if name in FDD_RASTER else "TDD")
        raster = FDD_RASTER[name] if name in FDD_RASTER else TDD_RASTER[name] * 2
        edges = [int(edge) for side in ("uplink", "downlink") for edge in row[side].split("-")]
        assert edges == pytest.approx([frequency_mhz(arfcn) for arfcn in raster], abs=0.1)  # the raster's first and last lie just inside


# --- the core and the protocols ---------------------------------------------------------------------------------------------------

# Priority, delay in ms, error rate. srsRAN Project, lib/ran/qos/five_qi_qos_mapping.cpp; 71 to 76 from LTE's table,
# TS 23.203 table 6.1.7-A, whose priorities are a tenth of these (as shown by tech-invite).
FIVE_QI = {
    "GBR": {
        1: (20, 100, 1e-2),
        2: (40, 150, 1e-3),
        3: (30, 50, 1e-3),
        4: (50, 300, 1e-6),
        65: (7, 75, 1e-2),
        66: (20, 100, 1e-2),
        67: (15, 100, 1e-3),
        71: (56, 150, 1e-6),
        72: (56, 300, 1e-4),
        73: (56, 300, 1e-8),
        74: (56, 500, 1e-8),
        76: (56, 500, 1e-4),
    },
    "non-GBR": {
        5: (10, 100, 1e-6),
        6: (60, 300, 1e-6),
        7: (70, 100, 1e-3),
        8: (80, 300, 1e-6),
        9: (90, 300, 1e-6),
        69: (5, 60, 1e-6),
        70: (55, 200, 1e-6),
        79: (65, 50, 1e-2),
        80: (68, 10, 1e-6),
    },
    "delay-critical GBR": {82: (19, 10, 1e-4), 83: (22, 10, 1e-4), 84: (24, 30, 1e-5), 85: (21, 5, 1e-5)},
}


def test_five_qi_as_srsran_has_it() -> None:
    known = {value: (resource, *figures) for resource, rows in FIVE_QI.items() for value, figures in rows.items()}
    ours = {row["five_qi"]: (row["resource"], row["priority"], row["delay_ms"], float(row["error"])) for row in TABLES["five_qi"]}
    assert len(ours) == len(TABLES["five_qi"])
    assert ours == known


def test_slice_types() -> None:
    # An NSSAI type of a slice manager on GitHub (EMBB to HMTC); the 3G4G blog tells the release of each value.
    assert column("slice_type", "sst", "service") == {1: "eMBB", 2: "URLLC", 3: "MIoT", 4: "V2X", 5: "HMTC"}


def test_reference_points() -> None:
    # Freedom Tutorials, 5G network function reference points; (R)AN is RAN here.
    known = pairs(
        "N1=UE AMF; N2=RAN AMF; N3=RAN UPF; N4=SMF UPF; N5=PCF AF; N6=UPF DN; N7=SMF PCF; N8=UDM AMF; N9=UPF UPF; N10=UDM SMF; N11=AMF SMF; "
        "N12=AMF AUSF; N13=UDM AUSF; N14=AMF AMF; N15=PCF AMF; N22=AMF NSSF"
    )
    ours = column("reference_point", "point", "ends")
    assert {point: sorted(ends.split(" and ")) for point, ends in ours.items()} == {point: sorted(ends.split()) for point, ends in known.items()}
    assert len(set(ours.values())) == len(ours)  # asked in both directions


def test_rrc_timers_start_as_in_the_table_of_rrc() -> None:
    # TS 38.331 7.1.1 in the words of a techforever5g4g post (T300 to T310) and of a mirror of release 18 (T311, T319, T380).
    known = {
        "T300": ("transmission", "RRCSetupRequest"),
        "T301": ("transmission", "RRCReestablishmentRequest"),
        "T302": ("reception", "RRCReject"),
        "T304": ("reception", "reconfigurationWithSync"),
        "T310": ("detection", "physical layer problems"),
        "T311": ("initiation", "RRC re-establishment"),
        "T319": ("transmission", "RRCResumeRequest"),
        "T380": ("reception", "t380 in RRCRelease"),
    }
    assert column("rrc_timer", "timer", "start") == {timer: f"{event} of {what}" for timer, (event, what) in known.items()}


def test_nas_timers_run_as_long_as_in_ueransim_and_free5gc() -> None:
    # Seconds. Of the UE: UERANSIM's UeTimers; of the network: the default configuration of free5GC's AMF.
    seconds = {3510: 15, 3517: 15, 3521: 15, 3580: 16, 3581: 16, 3582: 16, 3522: 6, 3550: 6, 3560: 6, 3570: 6}
    assert column("nas_timer", "timer", "value") == {f"T{timer}": f"{value} s" for timer, value in seconds.items()}


def test_nas_timers_start_on_their_message() -> None:
    # The comments of UERANSIM's timers and of free5GC's configuration; T358x: TS 24.501 6.4.1 to 6.4.3 on itecspec and tech-invite.
    known = pairs(
        "T3510=REGISTRATION REQUEST; T3517=SERVICE REQUEST; T3521=UE-originating DEREGISTRATION REQUEST; T3550=REGISTRATION ACCEPT; "
        "T3560=AUTHENTICATION REQUEST; T3570=IDENTITY REQUEST; T3522=network-originating DEREGISTRATION REQUEST; "
        "T3580=PDU SESSION ESTABLISHMENT REQUEST; T3581=PDU SESSION MODIFICATION REQUEST; T3582=PDU SESSION RELEASE REQUEST"
    )
    assert column("nas_timer", "timer", "message") == known


def test_procedures_belong_to_the_protocol_whose_codec_names_them() -> None:
    # Procedure codes of Wireshark's dissectors (XnAP, F1AP, E1AP) and of free5GC's ngap; Scapy's PFCP, srsRAN's RRC, TS 24.501 on itecspec.
    known = {
        "XnAP": {"Xn setup", "handover preparation over Xn", "SN status transfer"},
        "F1AP": {"F1 setup", "gNB-DU configuration update"},
        "E1AP": {"GNB-CU-UP E1 setup"},
        "NGAP": {"NG setup", "initial context setup", "path switch"},
        "5GMM": {"registration", "service request", "deregistration"},
        "5GSM": {"PDU session establishment", "PDU session modification"},
        "RRC": {"RRC setup", "RRC reconfiguration", "UE capability transfer"},
        "PFCP": {"PFCP session establishment"},
    }
    ours = column("procedure", "procedure", "protocol")
    assert ours == {name: protocol for protocol, names in known.items() for name in names}
    specification = pairs(
        "XnAP=TS 38.423; F1AP=TS 38.473; E1AP=TS 37.483; NGAP=TS 38.413; 5GMM=TS 24.501; 5GSM=TS 24.501; RRC=TS 38.331; PFCP=TS 29.244"
    )
    assert all(row["source"] == specification[row["protocol"]] for row in TABLES["procedure"])


def test_kpis_stand_under_their_clause() -> None:
    # TS 28.554 6.2, 6.4 and 6.5 on itecspec; the field views of an operations dashboard on GitHub; 6.7.1 cited in an O-RAN gap analysis.
    known = {
        "accessibility": {"mean registered subscribers", "registration success rate", "DRB accessibility"},
        "integrity": {"downlink delay in NG-RAN", "upstream throughput at N3"},
        "utilization": {"mean number of PDU sessions"},
        "retainability": {"QoS flow retainability", "DRB retainability"},
        "mobility": {"NG-RAN handover success rate"},
        "energy efficiency": {"NG-RAN data energy efficiency"},
    }
    assert column("kpi", "kpi", "category") == {kpi: category for category, kpis in known.items() for kpi in kpis}


def test_every_table_is_asked_and_names_a_clause() -> None:
    forms = PARAMETERS["form"]
    assert {form["table"] for form in forms} == set(TABLES)
    assert all(re.match(r"TS \d\d\.\d{3}|the protocol's own specification", form["source"]) for form in forms)


# --- terms ------------------------------------------------------------------------------------------------------------------------

EXPANSIONS = (
    # The glossary of the OCUDU documentation.
    "AMF=Access and Mobility Management Function; BSR=Buffer Status Report; BWP=Bandwidth Part; CORESET=Control Resource Set; "
    "CQI=Channel Quality Indicator; CRC=Cyclic Redundancy Check; CSI=Channel State Information; CSI-RS=Channel State Information Reference Signal; "
    "DCI=Downlink Control Information; DMRS=Demodulation Reference Signal; DRB=Data Radio Bearer; EPC=Evolved Packet Core; "
    "FDD=Frequency Division Duplex; gNB=Next Generation Node B; GTP-U=GPRS Tunnelling Protocol - User Plane; HARQ=Hybrid Automatic Repeat Request; "
    "IMSI=International Mobile Subscriber Identity; LDPC=Low-Density Parity-Check; MAC=Medium Access Control; MCC=Mobile Country Code; "
    "MCS=Modulation and Coding Scheme; MIMO=Multiple-Input Multiple-Output; MNC=Mobile Network Code; NAS=Non-Access Stratum; NR=New Radio; "
    "NSSAI=Network Slice Selection Assistance Information; NTN=Non-Terrestrial Network; PBCH=Physical Broadcast Channel; PCI=Physical Cell Identity; "
    "PDCCH=Physical Downlink Control Channel; PDCP=Packet Data Convergence Protocol; PDSCH=Physical Downlink Shared Channel; "
    "PHR=Power Headroom Report; PHY=Physical Layer; PLMN=Public Land Mobile Network; PRACH=Physical Random Access Channel; "
    "PRB=Physical Resource Block; PUCCH=Physical Uplink Control Channel; PUSCH=Physical Uplink Shared Channel; QoS=Quality of Service; "
    "5QI=5G QoS Identifier; RI=Rank Indicator; RIC=RAN Intelligent Controller; RLC=Radio Link Control; RNTI=Radio Network Temporary Identifier; "
    "RRC=Radio Resource Control; RSRP=Reference Signal Received Power; S-NSSAI=Single Network Slice Selection Assistance Information; "
    "SCS=Subcarrier Spacing; SDAP=Service Data Adaptation Protocol; SINR=Signal-to-Interference-plus-Noise Ratio; SMF=Session Management Function; "
    "SRS=Sounding Reference Signal; SSB=Synchronization Signal Block; TAC=Tracking Area Code; TDD=Time Division Duplex; "
    "UCI=Uplink Control Information; UDM=Unified Data Management; UE=User Equipment; UPF=User Plane Function",
    # The abbreviations of TS 23.501 in a study repository (KimMJ/Study).
    "5GC=5G Core Network; 5G-EIR=5G-Equipment Identity Register; AF=Application Function; AUSF=Authentication Server Function; "
    "CHF=Charging Function; DNN=Data Network Name; DRX=Discontinuous Reception; GFBR=Guaranteed Flow Bit Rate; "
    "GPSI=Generic Public Subscription Identifier; LMF=Location Management Function; MDBV=Maximum Data Burst Volume; MFBR=Maximum Flow Bit Rate; "
    "N3IWF=Non-3GPP InterWorking Function; NEF=Network Exposure Function; NRF=Network Repository Function; NSSF=Network Slice Selection Function; "
    "NWDAF=Network Data Analytics Function; PCF=Policy Control Function; PEI=Permanent Equipment Identifier; PER=Packet Error Rate; "
    "QFI=QoS Flow Identifier; SBA=Service Based Architecture; SD=Slice Differentiator; SEPP=Security Edge Protection Proxy; "
    "SMSF=Short Message Service Function; SST=Slice/Service Type; SUCI=Subscription Concealed Identifier; SUPI=Subscription Permanent Identifier; "
    "UDR=Unified Data Repository; UDSF=Unstructured Data Storage Function",
    # O-RAN: the architecture description, the stack reference design of WG8 and a note on measurement filtering.
    "E1AP=E1 Application Protocol; F1AP=F1 Application Protocol; NGAP=NG Application Protocol; XnAP=Xn Application Protocol; "
    "gNB-CU=gNB Central Unit; gNB-DU=gNB Distributed Unit; PSS=Primary Synchronization Signal; SSS=Secondary Synchronization Signal; "
    "PTRS=Phase Tracking Reference Signal; QAM=Quadrature Amplitude Modulation; RAN=Radio Access Network; SDU=Service Data Unit; "
    "SRB=Signalling Radio Bearer; MDT=Minimization of Drive Tests; RSRQ=Reference Signal Received Quality",
    # The abbreviations of TS 38.211 and 38.214, TS 38.300 and TS 23.003, TS 29.500, and of the 3GPP specification of CAPIF.
    "IAB=Integrated Access and Backhaul; PMI=Precoding Matrix Indicator; AMBR=Aggregate Maximum Bit Rate; ARP=Allocation and Retention Priority; "
    "V2X=Vehicle-to-Everything; SCP=Service Communication Proxy; MEC=Multi-access Edge Computing",
    # The glossaries of SD-Core (MME, PFCP) and Magma (GBR, HSS); ns-3's nr (TBS); lists of LTE and 5G acronyms on the Web and on GitHub.
    "MME=Mobility Management Entity; PFCP=Packet Forwarding Control Protocol; GBR=Guaranteed Bit Rate; HSS=Home Subscriber Server; "
    "TBS=Transport Block Size; CA=Carrier Aggregation; GUTI=Globally Unique Temporary Identifier; OFDM=Orthogonal Frequency Division Multiplexing; "
    "PDB=Packet Delay Budget; PDU=Protocol Data Unit; SON=Self-Organising Network; eMBB=enhanced Mobile Broadband; "
    "MIoT=Massive Internet of Things; ng-eNB=Next Generation eNodeB; URLLC=Ultra-Reliable Low Latency Communications",
)


def plain(text: str) -> str:
    """Letters and digits only, small, organise written with z: spelling differs between sources."""
    return re.sub(r"[^a-z0-9]", "", text.lower().replace("organis", "organiz"))


def test_terms_expand_as_in_other_glossaries() -> None:
    known = {short: long for group in EXPANSIONS for short, long in pairs(group).items()}
    ours = {row["short"]: row["long"] for row in TERMS}
    assert len(ours) == len(TERMS)
    assert set(ours) == set(known)
    assert {short: plain(ours[short]) for short in known} == {short: plain(long) for short, long in known.items()}


# V2X and DRX write X for a word without one.
@pytest.mark.parametrize("row", [row for row in TERMS if row["short"] not in ("V2X", "DRX")], ids=lambda row: row["short"])
def test_the_letters_of_a_term_occur_in_order(row: dict[str, str]) -> None:
    rest = iter(plain(row["long"]))
    assert all(letter in rest for letter in plain(row["short"]))


def test_terms_name_a_clause() -> None:
    assert [row["short"] for row in TERMS if not re.match(r"T[SR] \d\d\.\d{3}( [\d.a]+)?$|ETSI GS MEC 003$|O-RAN\.WG1\.OAD$", row["source"])] == []


# --- written for this project: no standard to hold them against ---------------------------------------------------------------------


def test_an_alarm_has_one_cause() -> None:
    names = [cause["name"] for cause in ALARMS["cause"]]
    alarms = [alarm for cause in ALARMS["cause"] for alarm in cause["alarms"]]
    assert len(set(names)) == len(names)
    assert len({alarm.lower() for alarm in [*alarms, *ALARMS["noise"]]}) == len(alarms) + len(ALARMS["noise"])
    assert {len(cause["alarms"]) for cause in ALARMS["cause"]} == {5}
    assert not [alarm for alarm in alarms for name in names if name.lower() in alarm.lower()]  # an alarm does not tell its cause


@pytest.mark.parametrize("language", ["en", "zh"])
def test_words_of_intents_are_unambiguous(language: str) -> None:
    services = [name for service in INTENTS["service"] for name in service[language]]
    fillers = INTENTS["filler"][language]
    assert len({*services, *fillers}) == len(services) + len(fillers)
    assert not [(name, other) for name in services for other in [*services, *fillers] if name != other and name.lower() in other.lower()]
    assert set(INTENTS["clause"][language]) == set(INTENTS["value"])
    clauses = [clause for texts in INTENTS["clause"][language].values() for clause in texts]
    assert len(set(clauses)) == len(clauses)
    assert all(clause.count("{value}") == 1 for clause in clauses)


def test_services_of_intents_are_slice_types() -> None:
    types = column("slice_type", "sst", "service")
    for service in INTENTS["service"]:
        assert any(types[service["sst"]] in name for name in service["en"])
        assert any(types[service["sst"]] in name for name in service["zh"])
