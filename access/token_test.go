package access

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// keysNamed makes keys, each of one byte 32 times: the first letter of its id.
func keysNamed(tb testing.TB, ids ...string) Keys {
	tb.Helper()
	items := make([]string, len(ids))
	for i, id := range ids {
		items[i] = id + ":" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte(id[:1]), minKey))
	}
	k, err := ParseKeys(strings.Join(items, ","))
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func signed(tb testing.TB, k Keys, c Claim) string {
	tb.Helper()
	token, err := k.Sign(c)
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

func TestTokensSayWhatWasClaimed(t *testing.T) {
	keys := keysNamed(t, "k1")
	for _, c := range []struct {
		claim         Claim
		writes, reads []string
		neither       []string
		prefix        string
		admin         bool
	}{
		{Claim{Scope: Write, Reach: Device("pump-1")}, []string{"pump-1"}, nil, []string{"pump-10", "pump-", "Pump-1", ""}, "", false},
		{Claim{Scope: Write, Reach: Prefix("pump-1")}, []string{"pump-1", "pump-10"}, nil, []string{"pump-2", "fan-1"}, "", false},
		{Claim{Scope: Read}, nil, []string{"pump-1"}, nil, "", false},
		{Claim{Scope: Read, Reach: Prefix("pump-1")}, nil, []string{"pump-1", "pump-10"}, []string{"pump-2"}, "pump-1", false},
		{Claim{Scope: Admin}, []string{"pump-1"}, []string{"pump-1"}, nil, "", true},
	} {
		token := signed(t, keys, c.claim)
		if !isToken68(token) || strings.ContainsAny(token, "/+=~") || len(token) > maxToken {
			t.Errorf("%s cannot stand everywhere", token)
		}
		g, err := keys.Verify(token, noon)
		if err != nil {
			t.Fatal(err)
		}
		prefix, reads := g.ReadPrefix()
		if g.IsAdmin() != c.admin || reads != (c.reads != nil) || prefix != c.prefix {
			t.Errorf("%v: admin %v, reads %v of %q", g, g.IsAdmin(), reads, prefix)
		}
		for _, id := range c.writes {
			if !g.MayWrite(id) {
				t.Errorf("%v does not write for %s", g, id)
			}
		}
		for _, id := range c.neither {
			if g.MayWrite(id) {
				t.Errorf("%v writes for %s", g, id)
			}
		}
	}
}

func TestNoSuchToken(t *testing.T) {
	keys := keysNamed(t, "k1")
	for _, c := range []Claim{
		{}, {Scope: Write}, {Scope: Write, Reach: Prefix("")}, {Scope: Read, Reach: Device("a")}, {Scope: Admin, Reach: Device("a")},
		{Scope: Admin, Reach: Prefix("a")}, {Scope: Write | Read, Reach: Device("a")}, {Scope: Write, Reach: Device("a,b")},
		{Scope: Write, Reach: Device("a\r\nX-Forged: 1")}, {Scope: Write, Reach: Prefix("-")}, {Scope: Write, Reach: Device(strings.Repeat("a", 129))},
	} {
		if token, err := keys.Sign(c); !errors.Is(err, ErrClaim) {
			t.Errorf("%v: %s, %v", c, token, err)
		}
	}
	if _, err := (Keys{}).Sign(Claim{Scope: Admin}); !errors.Is(err, ErrKeys) {
		t.Error(err)
	}
}

func TestExpiry(t *testing.T) {
	keys := keysNamed(t, "k1")
	token := signed(t, keys, Claim{Scope: Admin, Expires: noon})
	if _, err := keys.Verify(token, noon.Add(-time.Nanosecond)); err != nil {
		t.Error(err)
	}
	_, err := keys.Verify(token, noon)
	if !errors.Is(err, ErrExpired) || !strings.Contains(err.Error(), "2026-11-24T12:00:00Z") {
		t.Error(err)
	}
	if _, err := keys.Verify(signed(t, keys, Claim{Scope: Admin}), noon.AddDate(500, 0, 0)); err != nil {
		t.Error("never:", err)
	}
}

// The first key signs, all verify; a key that is gone takes its tokens along, and
// the id of another one does not help them.
func TestRotation(t *testing.T) {
	claim := Claim{Scope: Write, Reach: Device("pump-1")}
	old, both, young := keysNamed(t, "a1"), keysNamed(t, "b1", "a1"), keysNamed(t, "b1")
	before, after := signed(t, old, claim), signed(t, both, claim)
	for i, c := range []struct {
		keys  Keys
		token string
		want  error
	}{
		{old, before, nil}, {both, before, nil}, {both, after, nil}, {young, after, nil},
		{young, before, ErrInvalid}, {old, after, ErrInvalid},
		{keysNamed(t, "a2"), before, ErrInvalid}, // the same bytes under another id
		{Keys{}, before, ErrInvalid},
	} {
		if _, err := c.keys.Verify(c.token, noon); !errors.Is(err, c.want) {
			t.Errorf("%d: %v, want %v", i, err, c.want)
		}
	}
	// Another key of the same id.
	other, err := ParseKeys("a1:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("z"), 32)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Verify(before, noon); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

// Nothing but the very token is taken: not a part of it, not with a bit changed, not
// in another spelling of the same bytes.
func TestForgedTokens(t *testing.T) {
	keys := keysNamed(t, "k1")
	token := signed(t, keys, Claim{Scope: Write, Reach: Device("pump-1")})
	forged := []string{
		"", "slt1.", "slt1..", "slt1.a.b", token + "=", token + "\n", token + ".", " " + token, strings.ToUpper(token), token[len(tokenMark):], "slt2." + token[5:], token + token,
		token + strings.Repeat("A", maxToken),
	}
	for i := range token {
		forged = append(forged, token[:i], token[:i]+"\n"+token[i:])
		for bit := range 8 {
			changed := []byte(token)
			changed[i] ^= 1 << bit
			forged = append(forged, string(changed))
		}
	}
	// What it says is another's, with its signature.
	body, mac, _ := strings.Cut(token[len(tokenMark):], ".")
	said, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		strings.Replace(string(said), "write", "admin", 1), strings.Replace(string(said), "device", "prefix", 1),
		strings.Replace(string(said), "pump-1", "pump-2", 1), string(said) + "0", "x," + string(said),
	} {
		forged = append(forged, tokenMark+base64.RawURLEncoding.EncodeToString([]byte(text))+"."+mac)
	}
	for _, f := range forged {
		if g, err := keys.Verify(f, noon); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v, %v", f, g, err)
		}
	}
}

// What a right signature stands under is still read with care: a newer version may
// know more.
func TestSignedNonsense(t *testing.T) {
	keys := keysNamed(t, "k1")
	for _, text := range []string{
		"k1", "k1,admin", "k1,admin,0,all", "k1,admin,0,all,", "k1,admin,0,all,,", "k1,owner,0,all,", "k1,admin,soon,all,", "k1,admin,0,all,x", "k1,admin,0,some,",
		"k1,write,0,all,", "k1,write,0,prefix,", "k1,write,0,device,", "k1,read,0,device,a", "k1,admin,0,device,a", "k1,write,0,device,a b",
	} {
		body := tokenMark + base64.RawURLEncoding.EncodeToString([]byte(text))
		_, err := keys.Verify(body+"."+base64.RawURLEncoding.EncodeToString(sign(keys.byID["k1"], body)), noon)
		if right := text == "k1,admin,0,all,"; right != (err == nil) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestParseKeys(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xfb, 0xff}, 16))
	url := base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0xfb, 0xff}, 16))
	a, err := ParseKeys("k1:" + good + ", k_2-:" + url)
	if err != nil || a.Signer() != "k1" || !bytes.Equal(a.byID["k1"], a.byID["k_2-"]) || len(a.byID["k1"]) != 32 {
		t.Fatal(a.Signer(), err)
	}
	for _, text := range []string{
		"", ",", good, ":" + good, "k1:" + good + ",", "k1:" + good + ",k1:" + good, "k1:c2VjcmV0", "k1:" + good[:len(good)-4], "k 1:" + good, "k,1:" + good,
		"k1:" + strings.Repeat("A", 2000), "k1:no base64, no base64 at all, whoever says so, is wrong", strings.Repeat("k", 33) + ":" + good,
		"@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/k)", strings.Repeat("k1:"+good+",", 17),
	} {
		_, err := ParseKeys(text)
		if !errors.Is(err, ErrKeys) || strings.Contains(fmt.Sprint(err), good[:10]) || strings.Contains(fmt.Sprint(err), "c2VjcmV0") {
			t.Errorf("%.60s: %v", text, err)
		}
	}
}

// Forgeries are made of tokens that are right, by whatever the fuzzer does to them:
// none is taken but the ones that were given out.
func FuzzForgedTokens(f *testing.F) {
	keys := keysNamed(f, "k1", "a1")
	given := map[string]bool{}
	for _, c := range []Claim{
		{Scope: Write, Reach: Device("pump-1")}, {Scope: Write, Reach: Prefix("pump-1")}, {Scope: Read}, {Scope: Read, Reach: Prefix("pump-")},
		{Scope: Admin}, {Scope: Admin, Expires: noon.Add(time.Hour)}, {Scope: Admin, Expires: noon.Add(-time.Hour)},
	} {
		for _, k := range []Keys{keys, keysNamed(f, "a1"), keysNamed(f, "z1")} {
			token := signed(f, k, c)
			given[token] = k.signs != "z1" && !c.Expires.Equal(noon.Add(-time.Hour))
			f.Add(token, "Bearer ")
			f.Add(token[:len(token)-1], "Token ")
		}
	}
	gate := NewGate(Config{Keys: keys, Blocked: NewBlocked(nil), Now: func() time.Time { return noon }})
	f.Fuzz(func(t *testing.T, token, scheme string) {
		if g, err := keys.Verify(token, noon); err == nil && !given[token] {
			t.Fatalf("%q is taken for %v", token, g)
		}
		// By every door at once.
		for _, header := range []string{scheme + token, "Basic " + base64.StdEncoding.EncodeToString([]byte(scheme+":"+token))} {
			r := request("GET", "/x", header)
			credential, _ := Present(r)
			if g, err := gate.Judge(r); err == nil && !given[credential] {
				t.Fatalf("%q: %q is taken for %v", header, credential, g)
			}
		}
	})
}
