"""Office files and PDFs, made by hand: good ones, and ones that unpack without end."""

import io
import zlib
from zipfile import ZIP_DEFLATED, ZipFile

TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def package(start, parts):
    """An Office file: the name of its first part, and its parts as chunks of bytes."""
    related = (
        f'<Relationships xmlns="{RELATIONS}"><Relationship Id="r1" Type="{OFFICE}/officeDocument" '
        f'Target="{start}"/></Relationships>'
    )
    types = (
        f'<Types xmlns="{TYPES}"><Default Extension="rels" ContentType='
        '"application/vnd.openxmlformats-package.relationships+xml"/></Types>'
    )
    held = io.BytesIO()
    with ZipFile(held, "w", ZIP_DEFLATED) as archive:
        archive.writestr("_rels/.rels", related)
        for name, chunks in {"[Content_Types].xml": [types.encode()], **parts}.items():
            with archive.open(name, "w") as part:
                for chunk in chunks:
                    part.write(chunk)
    return held.getvalue()


def docx(*paragraphs, bomb_mib=0):
    """A Word document; with `bomb_mib`, as many MiB of empty paragraphs, a thousandth packed."""
    body = "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in paragraphs)
    head = f'<w:document xmlns:w="{WORD}"><w:body>{body}'.encode()
    empty = b"<w:p/>" * (2**20 // 6)
    chunks = [head, *[empty] * bomb_mib, b"</w:body></w:document>"]
    return package("word/document.xml", {"word/document.xml": chunks})


def xlsx(**cells):
    """A workbook of one sheet with these cells; two in far corners span 17 billion."""
    import openpyxl

    book = openpyxl.Workbook()
    for name, value in cells.items():
        book.active[name] = value
    held = io.BytesIO()
    book.save(held)
    return held.getvalue()


def pdf(*pages, blank_mib=0):
    """A PDF of pages, tabs between columns; with `blank_mib`, a stream of as many MiB on the last."""
    kids = b" ".join(b"%d 0 R" % (4 + 2 * n) for n in range(len(pages)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count %d/Kids[%b]>>" % (len(pages), kids),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for number, text in enumerate(pages, 1):
        stream = _packed(text, blank_mib if number == len(pages) else 0)
        objects += [
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents %d 0 R"
            b"/Resources<</Font<</F1 3 0 R>>>>>>" % (len(objects) + 2),
            b"<</Length %d/Filter/FlateDecode>>stream\n%b\nendstream" % (len(stream), stream),
        ]
    whole, starts = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        starts.append(len(whole))
        whole += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % start for start in starts)
    size = len(objects) + 1
    return (
        b"%bxref\n0 %d\n0000000000 65535 f \n%btrailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF"
        % (whole, size, table, size, len(whole))
    )


def _packed(text, blank_mib):
    """The content of a page: each line, and each column of it, at its position."""
    packer = zlib.compressobj()
    page = b""
    for down, line in enumerate(text.split("\n")):
        for right, cell in enumerate(line.split("\t")):
            shown = f"BT /F1 12 Tf {50 + 150 * right} {740 - 14 * down} Td ({cell}) Tj ET "
            page += packer.compress(shown.encode())
    page += b"".join(packer.compress(b" " * 2**20) for _ in range(blank_mib))
    return page + packer.flush()
