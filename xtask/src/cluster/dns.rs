//! One question to the cluster's DNS, asked from inside the cluster: whether Services resolve, and so whether a
//! Service address reaches what is behind it.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::layout::DNS_SERVICE;

const NAME: &str = "kubernetes.default.svc.cluster.local";
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
const IDENTIFIER: [u8; 2] = [0x48, 0x44];

/// Asks for the API server's address; fails unless there is an answer.
pub(crate) fn probe() -> Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(ANSWER_LIMIT))?;
    socket.connect((DNS_SERVICE, 53))?;
    socket.send(&query(NAME))?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer)?;
    ensure!(has_answers(&answer[..length]), "{NAME} has no address yet");
    Ok(())
}

/// A recursive question for the IPv4 addresses of a name (RFC 1035, section 4).
fn query(name: &str) -> Vec<u8> {
    let mut message = IDENTIFIER.to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.extend(u8::try_from(label.len()));
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// Our question's response, without an error code, with at least one answer.
fn has_answers(message: &[u8]) -> bool {
    let [first, second, flags, code, _, _, high, low, ..] = *message else {
        return false;
    };
    [first, second] == IDENTIFIER && flags & 0x80 != 0 && code & 0x0f == 0 && (high, low) != (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_names_each_label_with_its_length() {
        assert_eq!(
            query("a.bc"),
            [
                0x48, 0x44, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 2, b'b', b'c', 0, 0, 1, 0, 1
            ]
        );
    }

    #[test]
    fn only_a_successful_response_to_our_question_counts() {
        let response =
            |flags, code, answers| [0x48, 0x44, flags, code, 0, 1, 0, answers, 0, 0, 0, 0];
        assert!(has_answers(&response(0x81, 0x80, 1)));
        assert!(!has_answers(&response(0x81, 0x83, 1)), "no such name");
        assert!(!has_answers(&response(0x81, 0x80, 0)), "no answer");
        assert!(!has_answers(&response(0x01, 0x00, 1)), "a question");
        assert!(
            !has_answers(&[0, 1, 0x81, 0x80, 0, 1, 0, 1]),
            "of somebody else"
        );
        assert!(!has_answers(&[0x48]), "cut off");
    }
}
