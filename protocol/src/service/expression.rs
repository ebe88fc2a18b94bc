//! Small sums over a node's place in its cluster: `min(3, cluster_size)`, `cluster_size >= 2`,
//! `not fresh`. Whole numbers only; what holds is 1, what does not is 0.
//!
//! It refuses to know what a result is used for, and to fail once it has been read: every name has a
//! number on every node, sums stay within bounds, and nothing is divided by what may be zero.

use super::Membership;

/// The longest expression, in bytes; this bounds how deep brackets can be nested, too.
const MAX_LENGTH: usize = 200;

/// A sum, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    Number(i64),
    Name(Name),
    Not(Box<Self>),
    Pair(Operator, Box<Self>, Box<Self>),
    Call(Function, Vec<Self>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    ClusterSize,
    Identifier,
    Index,
    Majority,
    IsMaster,
    SlaveOnly,
    Fresh,
    Joining,
}

const NAMES: [(&str, Name); 8] = [
    ("cluster_size", Name::ClusterSize),
    ("identifier", Name::Identifier),
    ("index", Name::Index),
    ("majority", Name::Majority),
    ("is_master", Name::IsMaster),
    ("slave_only", Name::SlaveOnly),
    ("fresh", Name::Fresh),
    ("joining", Name::Joining),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Plus,
    Minus,
    Times,
    Divide,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    Unequal,
}

/// Longer signs first, so that `>=` is not read as `>`.
const COMPARISONS: [(&str, Operator); 6] = [
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("==", Operator::Equal),
    ("!=", Operator::Unequal),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Min,
    Max,
    /// The number itself if it is odd, else the one below.
    Odd,
}

impl Expression {
    /// Reads one; says what is wrong and where.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err(format!("longer than {MAX_LENGTH} characters"));
        }
        let mut reader = Reader { text, rest: text };
        let expression = reader.comparison()?;
        if reader.rest.trim_start().is_empty() { Ok(expression) } else { Err(reader.wrong("an operator")) }
    }

    pub(super) fn holds(&self, membership: &Membership) -> bool {
        self.value(membership) != 0
    }

    pub(super) fn value(&self, membership: &Membership) -> i64 {
        match self {
            Self::Number(number) => *number,
            Self::Name(name) => name.value(membership),
            Self::Not(inner) => i64::from(!inner.holds(membership)),
            Self::Pair(operator, left, right) => {
                operator.apply(left.value(membership), right.value(membership))
            }
            Self::Call(function, arguments) => {
                let mut values = arguments.iter().map(|argument| argument.value(membership));
                let found = match function {
                    Function::Min => values.min(),
                    Function::Max => values.max(),
                    Function::Odd => {
                        values.next_back().map(|n| if n % 2 == 0 { n.saturating_sub(1) } else { n })
                    }
                };
                found.unwrap_or(0)
            }
        }
    }
}

impl Name {
    fn value(self, membership: &Membership) -> i64 {
        let size = i64::try_from(membership.cluster.len()).unwrap_or(i64::MAX);
        match self {
            Self::ClusterSize => size,
            Self::Identifier => i64::from(membership.identifier),
            Self::Index => i64::from(membership.identifier) - 1,
            Self::Majority => size / 2 + 1,
            Self::IsMaster => i64::from(membership.is_master),
            Self::SlaveOnly => i64::from(!membership.is_master),
            Self::Fresh => i64::from(membership.fresh),
            Self::Joining => i64::from(membership.joining),
        }
    }
}

impl Operator {
    fn apply(self, left: i64, right: i64) -> i64 {
        match self {
            Self::Plus => left.saturating_add(right),
            Self::Minus => left.saturating_sub(right),
            Self::Times => left.saturating_mul(right),
            // Refused at reading unless it is a number above 0.
            Self::Divide => left.checked_div(right).unwrap_or(0),
            Self::Less => i64::from(left < right),
            Self::LessOrEqual => i64::from(left <= right),
            Self::Greater => i64::from(left > right),
            Self::GreaterOrEqual => i64::from(left >= right),
            Self::Equal => i64::from(left == right),
            Self::Unequal => i64::from(left != right),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn take(&mut self, sign: &str) -> bool {
        match self.rest.trim_start().strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn wrong(&self, expected: &str) -> String {
        let rest = self.rest.trim_start();
        let column = self.text.len() - rest.len() + 1;
        match rest.chars().next() {
            Some(found) => format!("{:?}: column {column}: {found:?} where {expected} should be", self.text),
            None => format!("{:?}: {expected} is missing at the end", self.text),
        }
    }

    fn comparison(&mut self) -> Result<Expression, String> {
        let left = self.sum()?;
        for (sign, operator) in COMPARISONS {
            if self.take(sign) {
                return Ok(Expression::Pair(operator, Box::new(left), Box::new(self.sum()?)));
            }
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<Expression, String> {
        let mut left = self.product()?;
        loop {
            let operator = if self.take("+") {
                Operator::Plus
            } else if self.take("-") {
                Operator::Minus
            } else {
                return Ok(left);
            };
            left = Expression::Pair(operator, Box::new(left), Box::new(self.product()?));
        }
    }

    fn product(&mut self) -> Result<Expression, String> {
        let mut left = self.one()?;
        loop {
            let operator = if self.take("*") {
                Operator::Times
            } else if self.take("/") {
                Operator::Divide
            } else {
                return Ok(left);
            };
            let right = self.one()?;
            if operator == Operator::Divide && !matches!(right, Expression::Number(1..)) {
                return Err(format!("{:?}: only a number above 0 may divide", self.text));
            }
            left = Expression::Pair(operator, Box::new(left), Box::new(right));
        }
    }

    fn one(&mut self) -> Result<Expression, String> {
        if self.take("(") {
            let inner = self.comparison()?;
            return if self.take(")") { Ok(inner) } else { Err(self.wrong("`)`")) };
        }
        let start = self.rest.trim_start();
        let length = start.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
        let (word, rest) = start.split_at_checked(length).unwrap_or((start, ""));
        if word.is_empty() {
            return Err(self.wrong("a number or a name"));
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            let number = word.parse().map_err(|_| self.wrong("a whole number"))?;
            self.rest = rest;
            return Ok(Expression::Number(number));
        }
        match word {
            "not" => {
                self.rest = rest;
                Ok(Expression::Not(Box::new(self.comparison()?)))
            }
            "min" => self.call(Function::Min, rest),
            "max" => self.call(Function::Max, rest),
            "odd" => self.call(Function::Odd, rest),
            _ => {
                let known = NAMES.iter().find(|(name, _)| *name == word).map(|(_, name)| *name);
                self.rest = rest;
                known.map(Expression::Name).ok_or_else(|| unknown(word))
            }
        }
    }

    fn call(&mut self, function: Function, rest: &'a str) -> Result<Expression, String> {
        self.rest = rest;
        if !self.take("(") {
            return Err(self.wrong("`(`"));
        }
        let mut arguments = vec![self.sum()?];
        while self.take(",") {
            arguments.push(self.sum()?);
        }
        if !self.take(")") {
            return Err(self.wrong("`)`"));
        }
        if function == Function::Odd && arguments.len() != 1 {
            return Err(format!("{:?}: `odd` is of one number", self.text));
        }
        Ok(Expression::Call(function, arguments))
    }
}

fn unknown(word: &str) -> String {
    let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
    format!("unknown name {word:?}; known: {}, and min, max, odd, not", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(identifier: u32, size: usize) -> Membership {
        Membership {
            identifier,
            is_master: identifier == 1,
            cluster: (0..size).map(|n| format!("h{n}")).collect(),
            ..Membership::default()
        }
    }

    #[test]
    fn sums_are_worked_out() {
        let cases = [
            ("3", 3),
            ("min(3, cluster_size)", 3),
            ("odd(min(11, cluster_size))", 3),
            ("cluster_size / 2 + 1", 3),
            ("majority", 3),
            ("1 + 2 * 3 - 4", 3),
            ("(1 + 2) * 3", 9),
            ("cluster_size >= 2", 1),
            ("cluster_size<2", 0),
            ("not is_master", 1),
            ("slave_only", 1),
            ("not cluster_size == 4", 0),
            ("max(index, identifier, 0)", 2),
            ("9223372036854775807 * 2", i64::MAX),
            ("odd(7)", 7),
        ];
        for (text, wanted) in cases {
            let expression = Expression::parse(text).unwrap_or_else(|reason| panic!("{reason}"));
            assert_eq!(expression.value(&member(2, 4)), wanted, "{text}");
        }
    }

    #[test]
    fn faults_are_named() {
        let cases = [
            ("", "a number or a name is missing"),
            ("min(3", "`)` is missing"),
            ("3 4", "column 3: '4' where an operator should be"),
            ("size", "unknown name \"size\"; known: cluster_size"),
            ("1 / 0", "only a number above 0 may divide"),
            ("1 / index", "only a number above 0 may divide"),
            ("odd(1, 2)", "`odd` is of one number"),
            ("3x", "a whole number"),
            ("min 3", "'3' where `(` should be"),
        ];
        for (text, wanted) in cases {
            let reason = Expression::parse(text).expect_err(text);
            assert!(reason.contains(wanted), "{text}: {reason}");
        }
        assert!(Expression::parse(&"(".repeat(201)).is_err());
        assert!(Expression::parse(&"(".repeat(200)).is_err());
    }
}
