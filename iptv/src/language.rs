//! Names of languages, as playlists (BCP 47) and transport streams (ISO 639-2) write them: whether two mean the same. Pure.

/// ISO 639-2 codes with the other names of the same language: its bibliographic code, if it has one, and that of two letters.
const NAMES: &str = "afr af|ara ar|aze az|bel be|ben bn|bod tib bo|bos bs|bul bg|cat ca|ces cze cs|cym wel cy|dan da|deu ger de|\
     ell gre el|eng en|epo eo|est et|eus baq eu|fao fo|fas per fa|fin fi|fra fre fr|fry fy|gle ga|glg gl|guj gu|hat ht|heb he|\
     hin hi|hrv hr|hun hu|hye arm hy|ind id|isl ice is|ita it|jav jv|jpn ja|kan kn|kat geo ka|kaz kk|khm km|kir ky|kor ko|\
     kur ku|lao lo|lat la|lav lv|lit lt|ltz lb|mal ml|mar mr|mkd mac mk|mlg mg|mlt mt|mon mn|mri mao mi|msa may ms|mya bur my|\
     nep ne|nld dut nl|nno nn|nob nb|nor no|oci oc|ori or|pan pa|pol pl|por pt|pus ps|roh rm|ron rum ro|rus ru|sin si|\
     slk slo sk|slv sl|som so|spa es|sqi alb sq|srp sr|swa sw|swe sv|tam ta|tel te|tgk tg|tgl tl|tha th|tuk tk|tur tr|uig ug|\
     ukr uk|urd ur|uzb uz|vie vi|xho xh|yid yi|yor yo|zho chi zh|zul zu";

/// Whether two names mean the same language, whatever region or script they add.
#[must_use]
pub fn is_same(one: &str, other: &str) -> bool {
    let bare = |name: &str| {
        let bare = name.trim().split(['-', '_']).next().unwrap_or_default();
        bare.to_ascii_lowercase()
    };
    let (one, other) = (bare(one), bare(other));
    let mut languages = NAMES.split('|').map(|names| names.split_whitespace());
    !one.is_empty()
        && (one == other
            || languages.any(|names| {
                let has = |wanted: &str| names.clone().any(|name| name == wanted);
                has(&one) && has(&other)
            }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_the_same_by_each_of_its_names() {
        for (one, other, expected) in [
            ("deu", "de", true),
            ("ger", "de-AT", true),
            ("deu", "GER", true),
            ("eng", "en-US", true),
            ("zho", "zh_Hant", true),
            ("qaa", "qaa", true),
            ("eng", "de", false),
            ("ara", "ar|aze", false),
            ("", "", false),
            ("af", "", false),
        ] {
            assert_eq!(is_same(one, other), expected, "{one:?} {other:?}");
            assert_eq!(is_same(other, one), expected, "{other:?} {one:?}");
        }
    }
}
