//! From a request target as sent to the path that urls are compared with, as nginx 1.22 does it
//! with `merge_slashes on` (ngx_http_parse_request_line, ngx_http_parse_complex_uri).

use crate::error::PathFault;

/// The path of `target`: what stands before the first `?` or `#`, percent-decoded once, slashes
/// merged and dot segments resolved. It lies in `target` when nothing had to be changed, else in
/// `buffer`.
///
/// An empty target, or one that begins with `?`, has the path `/`: so an absolute-form target
/// looks when scheme and authority are taken away.
///
/// # Errors
/// [`PathFault`].
pub fn resolve_path<'a>(target: &'a [u8], buffer: &'a mut Vec<u8>) -> Result<&'a [u8], PathFault> {
    match target.first() {
        None | Some(b'?') => {
            check_bytes(target)?;
            return Ok(b"/");
        }
        Some(b'/') => {}
        Some(_) => return Err(PathFault::NotAbsolute),
    }
    let mut after_slash = false;
    for (at, &byte) in target.iter().enumerate() {
        if !SPECIAL
            .get(usize::from(byte))
            .is_some_and(|&special| special)
        {
            after_slash = false;
            continue;
        }
        match byte {
            b'%' | b'#' => return resolve(target, buffer),
            b'/' | b'.' if after_slash => return resolve(target, buffer),
            b'?' => {
                let (path, query) = target.split_at(at);
                check_bytes(query)?;
                return Ok(path);
            }
            b'/' | b'.' => after_slash = byte == b'/',
            _ => return Err(PathFault::Byte(byte)),
        }
    }
    Ok(target)
}

/// Bytes that may have to be looked at; all others are what they are.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut rest = special.as_mut_slice();
    let mut byte = 0;
    while let Some((first, others)) = rest.split_first_mut() {
        *first = matches!(byte, 0..=b' ' | 0x7f | b'%' | b'#' | b'/' | b'.' | b'?');
        byte = byte.wrapping_add(1);
        rest = others;
    }
    special
};

/// Blanks and control characters are refused in the whole target, not in its path only.
fn check_bytes(bytes: &[u8]) -> Result<(), PathFault> {
    match bytes.iter().find(|&&byte| matches!(byte, 0..=b' ' | 0x7f)) {
        None => Ok(()),
        Some(&byte) => Err(PathFault::Byte(byte)),
    }
}

#[derive(Clone, Copy)]
enum After {
    Other,
    Slash,
    /// `/.`
    Dot,
    /// `/..`
    DotDot,
}

fn resolve<'a>(target: &[u8], path: &'a mut Vec<u8>) -> Result<&'a [u8], PathFault> {
    check_bytes(target)?;
    path.clear();
    let mut after = After::Other;
    let mut bytes = target.iter().copied();
    while let Some(sent) = bytes.next() {
        let byte = match sent {
            b'?' | b'#' => break,
            b'%' => match decode(bytes.next(), bytes.next())? {
                0 => return Err(PathFault::Zero),
                // What ends a path when it is sent as it is does not when it is decoded.
                byte => byte,
            },
            byte => byte,
        };
        after = match (byte, after) {
            (b'/', After::Other) => {
                path.push(byte);
                After::Slash
            }
            (b'/', _) => {
                drop_dots(after, path)?;
                After::Slash
            }
            (b'.', After::Slash) => {
                path.push(byte);
                After::Dot
            }
            (b'.', After::Dot) => {
                path.push(byte);
                After::DotDot
            }
            _ => {
                path.push(byte);
                After::Other
            }
        };
    }
    drop_dots(after, path)?;
    Ok(path)
}

fn decode(high: Option<u8>, low: Option<u8>) -> Result<u8, PathFault> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    match (digit(high), digit(low)) {
        (Some(high), Some(low)) => u8::try_from(high * 16 + low).map_err(|_| PathFault::Escape),
        _ => Err(PathFault::Escape),
    }
}

/// Takes `.` or `/..` with the segment before it off the end; a `/` remains.
fn drop_dots(after: After, path: &mut Vec<u8>) -> Result<(), PathFault> {
    match after {
        After::Other | After::Slash => {}
        After::Dot => {
            path.pop();
        }
        After::DotDot => {
            path.truncate(path.len().saturating_sub(3));
            let slash = path.iter().rposition(|&byte| byte == b'/');
            path.truncate(slash.ok_or(PathFault::AboveRoot)? + 1);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(target: &str) -> Result<String, PathFault> {
        let mut buffer = b"left over".to_vec();
        let path = resolve_path(target.as_bytes(), &mut buffer)?;
        Ok(String::from_utf8(path.to_vec()).unwrap())
    }

    #[test]
    fn the_path_is_decoded_once_and_resolved() {
        for (target, wanted) in [
            ("/", "/"),
            ("", "/"),
            ("?q", "/"),
            ("/a/b", "/a/b"),
            ("/a?b/../c%zz", "/a"),
            ("/a?b?c#d", "/a"),
            ("/a#b?c%zz", "/a"),
            ("/a%3Fb", "/a?b"),
            ("/a%23b", "/a#b"),
            ("/a%2525", "/a%25"),
            ("/%41%7e%2b+", "/A~++"),
            ("/a%2Fb", "/a/b"),
            ("/a%2f%2fb", "/a/b"),
            ("//a///b//", "/a/b/"),
            ("/a/./b", "/a/b"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/../b", "/b"),
            ("/a/b/../../c", "/c"),
            ("/a/..?x", "/"),
            ("/a/.#x", "/a/"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/..b", "/a/..b"),
            ("/a/...", "/a/..."),
            ("/a/.b/..c/", "/a/.b/..c/"),
            ("/a/..%25", "/a/..%"),
            ("/a/.%3f", "/a/.?"),
            ("/a.", "/a."),
            ("/%0a%7f%01", "/\n\u{7f}\u{1}"),
            ("/\u{e9}", "/\u{e9}"),
        ] {
            assert_eq!(path(target).as_deref(), Ok(wanted), "{target}");
        }
    }

    #[test]
    fn what_nginx_refuses_is_refused() {
        for (target, fault) in [
            ("*", PathFault::NotAbsolute),
            ("a/b", PathFault::NotAbsolute),
            ("#a", PathFault::NotAbsolute),
            ("/%", PathFault::Escape),
            ("/%4", PathFault::Escape),
            ("/%4?1", PathFault::Escape),
            ("/%g0", PathFault::Escape),
            ("/%+1", PathFault::Escape),
            ("/%00", PathFault::Zero),
            ("/..", PathFault::AboveRoot),
            ("/../a", PathFault::AboveRoot),
            ("//..", PathFault::AboveRoot),
            ("/a/../..", PathFault::AboveRoot),
            ("/./../a", PathFault::AboveRoot),
            ("/%2e.", PathFault::AboveRoot),
            ("/..?a", PathFault::AboveRoot),
            ("/a b", PathFault::Byte(b' ')),
            ("/a?b\t", PathFault::Byte(b'\t')),
            ("?\t", PathFault::Byte(b'\t')),
            ("/a#\u{7f}", PathFault::Byte(0x7f)),
        ] {
            assert_eq!(path(target), Err(fault), "{target:?}");
        }
    }
}
