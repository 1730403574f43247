#!/bin/sh
# Runs the models that come with Tenon on their samples and writes one page of the results: demo.sh [TENON [OUT]]
# (default: build/tenon and build/demo). The page holds its pictures; pages of single commands lie beside it.
set -eu
cd "$(dirname "$0")/.."
tenon=${1:-build/tenon}
out=${2:-build/demo}
golden=$(dirname "$tenon")/tools/golden
page=$out/index.html
began=$(date +%s)
mkdir -p "$out/objects" "$out/forms" "$out/phrases"
rm -f "$out"/*.part

escape() { sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g'; }
picture() { # FILE ALT: an img that holds its file
    printf '<img alt="%s" src="data:image/png;base64,' "$2"
    base64 <"$1" | tr -d '\n'
    printf '">\n'
}
# A table of lines with tabs; $1: its heads, with tabs.
table() {
    printf '<table><tr>'
    printf '%s\n' "$1" | awk -F '\t' '{for (i = 1; i <= NF; i++) printf "<th>%s</th>", $i}'
    printf '</tr>\n'
    escape | awk -F '\t' '{printf "<tr>"; for (i = 1; i <= NF; i++) printf "<td%s>%s</td>", $i ~ /^[-0-9.]+( %)?$/ ? " class=n" : "", $i; print "</tr>"}'
    printf '</table>\n'
}
has() { [ -f "models/$1/model.safetensors" ] || [ -f "models/$1/model.safetensors.index.json" ]; }
say() { printf '== %s\n' "$*" >&2; }

head_of_page() {
    cat <<'HTML'
<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Tenon: demonstration</title>
<style>
body{font:16px/1.5 system-ui,sans-serif;color:#1d2733;background:#f6f7f9;margin:0}
header,main{max-width:1080px;margin:auto;padding:0 24px}header{padding-top:40px}h1{font-size:30px;font-weight:650;margin:0}
header p{color:#5a6675;margin:6px 0 24px}section{background:#fff;border:1px solid #dfe3e8;border-radius:8px;padding:20px 24px;margin:0 0 24px}
h2{font-size:19px;font-weight:650;margin:0 0 2px}h2+p{color:#5a6675;margin:0 0 14px}code{font:13px ui-monospace,monospace;color:#3c4a5a}
table{border-collapse:collapse;font-size:14px;margin:8px 0}th{text-align:left;font-weight:600;color:#5a6675}td,th{padding:3px 14px 3px 0;border-bottom:1px solid #eceff2;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}.grid{display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start}
figure{margin:0}figcaption{font-size:13px;color:#3c4a5a;line-height:1.4;margin-top:4px}img{max-width:100%;border:1px solid #dfe3e8;border-radius:4px;display:block}
.lines img{height:36px;width:auto}.small figure{width:150px}.large figure{width:328px}.pages figure{width:322px}
.bar{display:inline-block;height:8px;background:#2f6fb3;border-radius:2px;margin-right:6px}.result{font-weight:600}.off{color:#b3261e}a{color:#1f5c99}
</style>
<header><h1>Tenon</h1>
HTML
    printf '<p>%s on this CPU. Every model and picture below comes with the source; every score is of these samples alone, those of the held-out sets are in the models&rsquo; cards.</p></header>\n<main>\n' \
        "$("$tenon" --version 2>/dev/null | head -n 1 | escape)"
}

text_lines() {
    model=models/trocr-tiny-zh
    say "$model: picture, text read, text expected"
    "$tenon" ocr -q --model "$model" --eval "$model/samples/samples.tsv" | tee "$out/lines.part" >&2
    echo "<section><h2>Text lines</h2><p><code>tenon ocr --model $model --eval samples.tsv</code></p><div class=lines><table><tr><th>line</th><th>read</th><th>expected</th></tr>"
    grep '	' "$out/lines.part" | tail -n 12 | while IFS='	' read -r file read expected; do
        [ "$read" = "$expected" ] && class=ok || class=off
        printf '<tr><td>'
        picture "$file" line
        printf '</td><td class=%s>%s</td><td>%s</td></tr>\n' "$class" "$(printf %s "$read" | escape)" "$(printf %s "$expected" | escape)"
    done
    printf '</table></div><p class=result>%s</p></section>\n' "$(tail -n 1 "$out/lines.part" | escape)"
}

classes() {
    model=models/uniformer-tiny-shapes
    say "$model: picture, class, probability, name"
    "$tenon" classify -q -m "$model" --top 3 "$model/samples/list.tsv" | tee "$out/classes.part" >&2
    echo "<section><h2>Classes of pictures</h2><p><code>tenon classify -m $model --top 3 list.tsv</code></p><div class='grid small'>"
    grep '	' "$out/classes.part" | awk -F '\t' '!seen[$1]++ {print $1}' | while read -r file; do
        echo '<figure>'
        picture "$file" picture
        echo '<figcaption>'
        awk -F '\t' -v f="$file" '$1 == f {printf "<span class=bar style=\"width:%dpx\"></span>%s %.3f<br>\n", 2 + 60 * $3, $4, $3}' "$out/classes.part"
        echo '</figcaption></figure>'
    done
    printf '</div><p class=result>%s</p></section>\n' "$(tail -n 1 "$out/classes.part" | escape)"
}

objects() {
    model=models/mask-rcnn-tiny-scenes
    samples=$model/samples
    say "$model: average precision of the samples"
    "$tenon" build -q "$model" -o "$out/detector.plan"
    "$tenon" detect -q -m "$out/detector.plan" --overlay "$out/objects" --html "$out/objects.html" "$samples"/*.png >"$out/objects.part"
    "$tenon" detect -q -m "$out/detector.plan" --eval "$samples/ground_truth.json" "$samples" | tee "$out/scores.part" >&2
    rm "$out/detector.plan"
    echo "<section><h2>Objects with masks</h2><p><code>tenon detect -m $model --overlay DIR --html objects.html *.png</code> &middot; <a href=objects.html>all numbers</a></p><div class='grid large'>"
    for file in "$samples"/*.png; do
        echo '<figure>'
        picture "$out/objects/$(basename "$file")" scene
        printf '<figcaption>%s</figcaption></figure>\n' "$(awk -F '\t' -v f="$file" '$1 == f {printf "%s%s %.2f", n++ ? ", " : "", $2, $3}' "$out/objects.part" | escape)"
    done
    printf '</div><pre class=result>%s</pre></section>\n' "$(escape <"$out/scores.part")"
}

forms() {
    model=models/layoutlmv3-tiny-forms
    samples=$model/samples
    say "$model: entities of the samples"
    echo "<section><h2>Forms</h2><p><code>tenon doc -m $model --overlay page.png --html page.html page.png words.json</code>: headers blue, questions red, answers green, other grey; a line leads to the question of an answer</p><div class='grid pages'>"
    "$tenon" build -q "$model" -o "$out/forms.plan"
    for file in "$samples"/images/*.png; do
        name=$(basename "$file" .png)
        "$tenon" doc -q -m "$out/forms.plan" --overlay "$out/forms/$name.png" --html "$out/$name.html" "$file" "$samples/annotations/$name.json" >"$out/$name.part"
        echo '<figure>'
        picture "$out/forms/$name.png" form
        printf '<figcaption><a href=%s.html>%s</a>: %s entities</figcaption></figure>\n' "$name" "$name" "$(wc -l <"$out/$name.part")"
    done
    echo '</div>'
    printf '<h3>%s</h3>\n' "Answers with their questions, from the first page"
    grep -h '^answer.*<-' "$out/form-1.part" | sed 's/<- //' | head -n 12 | awk -F '\t' -v OFS='\t' '{print $4, $3, $2}' | table "question	answer	probability"
    "$tenon" doc -q -m "$out/forms.plan" --overlap 0 --eval "$samples" | grep -v '	' >"$out/scores.part"
    rm "$out/forms.plan"
    cat "$out/scores.part" >&2
    printf '<pre class=result>%s</pre></section>\n' "$(tail -n 5 "$out/scores.part" | escape)"
}

phrases() {
    model=models/vilbert-tiny-scenes
    samples=$model/samples
    say "$model: phrases of the samples"
    "$tenon" build -q "$model" -o "$out/phrases.plan"
    echo "<section><h2>Phrases and regions</h2><p><code>tenon ground -m $model --features DIR --image scene.png --overlay FILE PHRASE...</code>: the region that each phrase means</p><div class='grid large'>"
    for file in "$samples"/scene-00[0-5].png; do
        name=$(basename "$file" .png)
        # phrases.json: a list of objects, a field a line
        awk -v name="$name" -F '"' '/"image":/ {here = $4 == name} /"phrase":/ && here {print $4}' "$samples/phrases.json" >"$out/said.part"
        set --
        while read -r said; do set -- "$@" "$said"; done <"$out/said.part"
        "$tenon" ground -q -m "$out/phrases.plan" --features "$samples" --image "$file" --overlay "$out/phrases/$name.png" --html "$out/$name.html" "$@" >"$out/found.part"
        echo '<figure>'
        picture "$out/phrases/$name.png" scene
        printf '<figcaption><a href=%s.html>%s</a><br>%s</figcaption></figure>\n' "$name" "$name" \
            "$(escape <"$out/found.part" | awk -F '\t' '{printf "%s: region %s, %.2f<br>", $2, $3, $6}')"
    done
    "$tenon" ground -q -m "$out/phrases.plan" --features "$samples" --eval "$samples/phrases.json" | tee "$out/scores.part" >&2
    rm "$out/phrases.plan"
    printf '</div><pre class=result>%s</pre></section>\n' "$(escape <"$out/scores.part")"
}

# A part of the page, of a model that is there.
part() { # FUNCTION MODEL
    if has "$2"; then "$1"; else say "models/$2 is not here: left out"; fi
}

{
    head_of_page
    part text_lines trocr-tiny-zh
    part classes uniformer-tiny-shapes
    part objects mask-rcnn-tiny-scenes
    part forms layoutlmv3-tiny-forms
    part phrases vilbert-tiny-scenes
    if [ -x "$golden" ]; then
        say "the plan against PyTorch's tensors (models/trocr-tiny-zh/golden.npz)"
        "$golden" models/trocr-tiny-zh | tee "$out/golden.part" >&2
        printf '<section><h2>Against PyTorch, tensor by tensor</h2><p><code>tools/golden models/trocr-tiny-zh</code></p><pre>%s</pre></section>\n' "$(escape <"$out/golden.part")"
    fi
    echo '</main></html>'
} >"$page.part"
mv "$page.part" "$page"
rm -f "$out"/*.part
say "$(($(date +%s) - began)) s; the page: $page"
