//! What the console asks for itself, about services of nodes that have no probes of their own.

use std::time::Duration;

use circus_protocol::transport::http;
use serde_json::{Map, Value};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cluster::probing::{Question, What};

/// How much of an answer's body is looked at.
const MOST_BODY: usize = 256 * 1024;

/// How much of it is repeated when it is not the right one.
const MOST_REASON: usize = 200;

/// Asks all at once; `{"answers": [null or why not, …]}` in their order.
pub(super) async fn all(questions: Vec<Question>) -> Map<String, Value> {
    let mut answers = vec![Value::from("not asked"); questions.len()];
    let mut asking = JoinSet::new();
    for (at, question) in questions.into_iter().enumerate() {
        asking.spawn(async move { (at, one(question).await) });
    }
    while let Some(answered) = asking.join_next().await {
        if let Ok((at, answer)) = answered
            && let Some(slot) = answers.get_mut(at)
        {
            *slot = answer.err().map_or(Value::Null, Value::from);
        }
    }
    Map::from_iter([("answers".to_owned(), Value::from(answers))])
}

async fn one(question: Question) -> Result<(), String> {
    let limit = Duration::try_from_secs_f64(question.limit).unwrap_or_default();
    let late = |what: &str| format!("{what}: no answer within {} s", limit.as_secs_f64());
    match question.what {
        What::Tcp(address) => match timeout(limit, TcpStream::connect(address.as_str())).await {
            Ok(Ok(_stream)) => Ok(()),
            Ok(Err(error)) => Err(format!("tcp {address}: {error}")),
            Err(_late) => Err(late(&format!("tcp {address}"))),
        },
        What::Http { url, status, body } => {
            let what = format!("http {url}");
            let fetched = timeout(limit, http::fetch(&url, None, MOST_BODY)).await;
            let answer = fetched.map_err(|_| late(&what))?;
            let answer = answer.map_err(|error| format!("{what}: {error}"))?;
            if !status.contains(&answer.status) {
                return Err(format!("{what}: status {}", answer.status));
            }
            match body {
                Some(pattern) => fits(&pattern, &answer.body).map_err(|why| format!("{what}: {why}")),
                None => Ok(()),
            }
        }
    }
}

fn fits(pattern: &str, body: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(body);
    let regex = regex_lite::RegexBuilder::new(pattern).multi_line(true).build();
    if regex.map_err(|error| format!("{pattern:?}: {error}"))?.is_match(text.trim()) {
        return Ok(());
    }
    let said: String = text.trim().lines().next().unwrap_or_default().chars().take(MOST_REASON).collect();
    Err(format!("the body is {said:?}"))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let _asked = stream.read(&mut request).await;
                let _told = stream.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn answers_come_in_the_order_of_the_questions() {
        let good = server("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nmaster").await;
        let http = |body: &str| What::Http {
            url: format!("http://{good}/x"),
            status: vec![200],
            body: Some(body.to_owned()),
        };
        let closed = What::Tcp("127.0.0.1:1".to_owned());
        let whats = [closed, http("^(master|slave)$"), http("^slave"), What::Tcp(good.clone())];
        let questions = whats.into_iter().map(|what| Question { what, limit: 30.0 }).collect();
        let answers = all(questions).await;
        let answers = answers["answers"].as_array().unwrap();
        assert!(answers[0].as_str().unwrap().starts_with("tcp 127.0.0.1:1: "), "{answers:?}");
        assert_eq!((&answers[1], &answers[3]), (&Value::Null, &Value::Null));
        assert_eq!(answers[2], format!("http http://{good}/x: the body is \"master\""));
    }

    #[tokio::test]
    async fn nobody_is_waited_for_for_ever() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let what = What::Http { url: url.clone(), status: vec![200], body: None };
        let answers = all(vec![Question { what, limit: 0.1 }]).await;
        assert_eq!(answers["answers"][0], format!("http {url}: no answer within 0.1 s"));
    }
}
